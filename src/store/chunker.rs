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
use crate::os::if_exists;
use crate::os::ordered::map_in_order;

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
    let chunker = Chunker::new(store);
    let (digest, size, chunks) = chunker.split(&file, stop, progress)?;
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
    let Some(file) = if_exists(File::open(blob))? else {
        return Ok(None);
    };
    Ok(Some(hash_stream::digest(file, stop, |_| {})?.0 == *digest))
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
        stop: &Stop,
        progress: impl Fn(u64),
    ) -> io::Result<(Digest, u64, Vec<Chunk>)> {
        let (mut hash, mut chunks) = (StreamHash::default(), Vec::new());
        let pieces = StreamCDC::with_level(
            file,
            MIN_CHUNK_BYTES,
            AVERAGE_CHUNK_BYTES,
            MAX_CHUNK_BYTES,
            NORMALIZATION,
        );
        let pieces = pieces.map(|piece| {
            stop.check()?;
            let data = piece?.data;
            hash.update(&data);
            progress(data.len() as u64);
            Ok(data)
        });
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        map_in_order(
            pieces,
            (threads, QUEUED_CHUNKS),
            || Compressor::new(ZSTD_LEVEL),
            |compressor, data: Vec<u8>| self.store_chunk(compressor, &data),
            |chunk| {
                push(&mut chunks, chunk);
                Ok(())
            },
        )?;
        Ok((hash.digest(), hash.length(), chunks))
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
        let Some(file) = if_exists(File::open(self.store.blob(digest)))? else {
            return Ok(false);
        };
        let mut stored = Vec::with_capacity(bytes.len() + 1);
        file.take(bytes.len() as u64 + 1).read_to_end(&mut stored)?;
        Ok(stored == bytes)
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

/// Adds a chunk; zeros extend the zeros before them.
fn push(chunks: &mut Vec<Chunk>, chunk: Chunk) {
    match chunks.last_mut() {
        Some(last) if (last.encoding, chunk.encoding) == (Encoding::Zeros, Encoding::Zeros) => {
            last.length += chunk.length;
        }
        _ => chunks.push(chunk),
    }
}
