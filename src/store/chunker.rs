//! Content-defined chunking: an image is split where its content says so, so parts that two images share are stored once.
//!
//! ```text
//! file -> SHA-256 of all -> split -> (compress, name by digest, compare or write) x threads -> sync -> rename -> chunk index
//! ```

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fastcdc::v2020::{Normalization, StreamCDC};
use tempfile::TempPath;
use zstd::bulk::Compressor;

use super::chunk_index::{Chunk, ChunkIndex, Encoding};
use super::transaction::READ_ONLY;
use super::{Blob, Store};
use crate::digest::Digest;
use crate::os::atomic_file::{self, UNFINISHED};
use crate::os::hash_stream::{self, Stop, StreamHash};

/// Parameters of the chunker. With other values no chunk would match those in existing stores.
const MIN_CHUNK_BYTES: usize = 16 << 10;
const AVERAGE_CHUNK_BYTES: usize = 64 << 10;
const MAX_CHUNK_BYTES: usize = 256 << 10;
const NORMALIZATION: Normalization = Normalization::Level2;
/// Most of an image is compressed already, and the rest gains nearly as much as from a higher level.
const ZSTD_LEVEL: i32 = 3;
/// Compression must save more than 1 in this number of bytes. Otherwise the chunk is stored uncompressed, which costs nothing to
/// read.
const MIN_SAVING: usize = 16;
/// Chunks that wait for a thread: a few MiB at most.
const QUEUED_CHUNKS: usize = 4;

/// Splits an image file into chunks, and writes new chunks and the chunk index. The file stays.
pub(super) fn add(
    store: &Store,
    image: &Path,
    stop: &Stop,
    progress: impl Fn(u64),
) -> io::Result<Blob> {
    let file = File::open(image)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunker = Chunker::new(store);
    let (digest, size, chunks) = chunker.split(&file, threads, stop, progress)?;
    let index = ChunkIndex::new(digest, size, chunks);
    let whole = store.blob(&digest);
    // An image of a single uncompressed chunk is that chunk's blob.
    let is_one_chunk = index
        .chunks
        .iter()
        .any(|chunk| chunk.encoding == Encoding::Plain(digest));
    if size == 0 {
        atomic_file::write(&whole, READ_ONLY, b"")?;
    } else if is_one_chunk {
        chunker.finish()?;
    } else {
        let stored = verify_blob(&whole, &digest, stop)?;
        // An older karat stored the image as one blob, which is enough: dropping the chunker removes the new chunks.
        if stored != Some(true) {
            chunker.finish()?;
            write_index(store, &index)?;
        }
        if stored == Some(false) {
            // The blob is damaged, and the chunks replace it.
            fs::remove_file(&whole)?;
        }
    }
    Ok(Blob { digest, size })
}

fn write_index(store: &Store, index: &ChunkIndex) -> io::Result<()> {
    let (path, bytes) = index.to_file(store).map_err(io::Error::other)?;
    atomic_file::make_directory(atomic_file::directory_of(&path))?;
    atomic_file::sync_directory(store.root())?;
    atomic_file::sync_directory(&store.images_directory())?;
    atomic_file::write(&path, READ_ONLY, &bytes)
}

/// Returns whether a blob has the bytes that it is named by; `None` if it does not exist.
fn verify_blob(blob: &Path, digest: &Digest, stop: &Stop) -> io::Result<Option<bool>> {
    match File::open(blob) {
        Ok(file) => Ok(Some(hash_stream::digest(file, stop, |_| {})?.0 == *digest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes chunks under temporary names; [`Self::finish`] renames them.
struct Chunker<'a> {
    store: &'a Store,
    new: Mutex<NewChunks>,
}

/// Chunks that the store does not have yet.
#[derive(Default)]
struct NewChunks {
    /// Blobs of this image that were written or found.
    seen: HashSet<Digest>,
    /// Closed files under temporary names: there can be more than a process may have open.
    written: Vec<(TempPath, Digest)>,
}

impl<'a> Chunker<'a> {
    fn new(store: &'a Store) -> Self {
        let new = Mutex::default();
        Self { store, new }
    }

    /// Returns digest, size and chunks of the file.
    fn split(
        &self,
        file: &File,
        threads: usize,
        stop: &Stop,
        progress: impl Fn(u64),
    ) -> io::Result<(Digest, u64, Vec<Chunk>)> {
        let mut hash = StreamHash::default();
        std::thread::scope(|scope| {
            let mut workers = Vec::with_capacity(threads);
            for _ in 0..threads {
                let (sender, receiver) = sync_channel(QUEUED_CHUNKS);
                workers.push((sender, scope.spawn(move || self.store_chunks(&receiver))));
            }
            let mut count = 0;
            for chunk in StreamCDC::with_level(
                file,
                MIN_CHUNK_BYTES,
                AVERAGE_CHUNK_BYTES,
                MAX_CHUNK_BYTES,
                NORMALIZATION,
            ) {
                stop.check()?;
                let data = chunk?.data;
                hash.update(&data);
                progress(data.len() as u64);
                let sender: &SyncSender<_> = &workers[count % threads].0;
                count += 1;
                if sender.send(data).is_err() {
                    // The thread has failed; joining it below returns its error.
                    break;
                }
            }
            let handles: Vec<_> = workers.into_iter().map(|(_, handle)| handle).collect();
            let mut stored = Vec::with_capacity(threads);
            for handle in handles {
                let chunks = handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                stored.push(chunks.into_iter());
            }
            let ordered = (0..count).filter_map(|number| stored[number % threads].next());
            Ok((hash.digest(), hash.length(), merge_zeros(ordered)))
        })
    }

    fn store_chunks(&self, queue: &Receiver<Vec<u8>>) -> io::Result<Vec<Chunk>> {
        let mut compressor = Compressor::new(ZSTD_LEVEL)?;
        let store = |data: Vec<u8>| self.store_chunk(&mut compressor, &data);
        queue.iter().map(store).collect()
    }

    fn store_chunk(&self, compressor: &mut Compressor<'_>, data: &[u8]) -> io::Result<Chunk> {
        let length = data.len() as u64;
        if data.iter().all(|byte| *byte == 0) {
            let encoding = Encoding::Zeros;
            return Ok(Chunk { length, encoding });
        }
        let compressed = compressor.compress(data)?;
        let is_smaller = compressed.len() + data.len() / MIN_SAVING < data.len();
        let blob = if is_smaller { &compressed } else { data };
        let digest = Digest::of(blob);
        if self.lock().seen.insert(digest) && !self.has_blob(&digest, blob)? {
            let written = self.write(blob)?;
            self.lock().written.push((written, digest));
        }
        let encoding = if is_smaller {
            Encoding::Zstd(digest)
        } else {
            Encoding::Plain(digest)
        };
        Ok(Chunk { length, encoding })
    }

    fn lock(&self) -> MutexGuard<'_, NewChunks> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the store has the blob with these bytes. A damaged blob is written again.
    fn has_blob(&self, digest: &Digest, bytes: &[u8]) -> io::Result<bool> {
        let mut stored = Vec::with_capacity(bytes.len() + 1);
        let limit = bytes.len() as u64 + 1;
        let mut read = || {
            File::open(self.store.blob(digest))?
                .take(limit)
                .read_to_end(&mut stored)
        };
        match read() {
            Ok(_) => Ok(stored == bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<TempPath> {
        let (mut file, path) = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .make_in(self.store.blobs(), |path| {
                let mut options = File::options();
                options.write(true).create_new(true).mode(READ_ONLY);
                options.open(path)
            })?
            .into_parts();
        file.write_all(bytes)?;
        Ok(path)
    }

    /// Syncs all new chunks, then renames them.
    fn finish(self) -> io::Result<()> {
        let new = self
            .new
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let blobs = File::open(self.store.blobs())?;
        // One sync for thousands of files: an fsync of each would wait for the journal of the file system.
        rustix::fs::syncfs(&blobs)?;
        for (path, digest) in new.written {
            path.persist(self.store.blob(&digest))?;
        }
        blobs.sync_all()
    }
}

/// Merges adjacent chunks of zeros.
fn merge_zeros(chunks: impl Iterator<Item = Chunk>) -> Vec<Chunk> {
    let mut merged: Vec<Chunk> = Vec::new();
    for chunk in chunks {
        match merged.last_mut() {
            Some(last) if (last.encoding, chunk.encoding) == (Encoding::Zeros, Encoding::Zeros) => {
                last.length += chunk.length;
            }
            _ => merged.push(chunk),
        }
    }
    merged
}
