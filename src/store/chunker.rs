//! An image cut into chunks where its content says so, so that what two images have in common is stored once.
//!
//! ```text
//! file -> SHA-256 of all -> cut -> (compress, name by digest, compare or write) x threads -> sync -> names -> recipe
//! ```

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use fastcdc::v2020::{Normalization, StreamCDC};
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use zstd::bulk::Compressor;

use super::chunk_index::{Chunk, Kept, Recipe};
use super::transaction::READ_ONLY;
use super::{Blob, Store};
use crate::digest::Digest;
use crate::os::atomic_file::{self, UNFINISHED};
use crate::os::hash_stream::{self, Stop};

/// Where an image is cut. Other numbers would find nothing of what is stored already.
const SHORTEST: usize = 16 << 10;
const USUAL: usize = 64 << 10;
const LONGEST: usize = 256 << 10;
const EVEN: Normalization = Normalization::Level2;
/// Most of an image is compressed already; what is not, gains nearly as much as from a higher level.
const LEVEL: i32 = 3;
/// Of so many bytes one has to be saved, or the chunk is kept as it is: reading it then costs nothing.
const WORTH: usize = 16;
/// Chunks on their way to a thread: a few MiB at most.
const WAITING: usize = 4;

/// Cuts an image file and puts what is new of it into the store, with its recipe. The file stays.
pub(super) fn add(
    store: &Store,
    image: &Path,
    stop: &Stop,
    progress: impl Fn(u64),
) -> io::Result<Blob> {
    let file = File::open(image)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let cutter = Cutter::new(store);
    let (digest, size, chunks) = cutter.cut(&file, threads, stop, progress)?;
    let recipe = Recipe::new(digest, size, chunks);
    let whole = store.blob(&digest);
    // A chunk that is all of the image is the image. An empty one has none.
    let is_one = recipe
        .chunks
        .iter()
        .any(|chunk| chunk.kept == Kept::Plain(digest));
    if size == 0 {
        atomic_file::write(&whole, READ_ONLY, b"")?;
    } else if is_one {
        cutter.finish()?;
    } else {
        let stored = is_sound(&whole, &digest, stop)?;
        // One that an older karat has stored whole is enough; what was written is removed.
        if stored != Some(true) {
            cutter.finish()?;
            write(store, &recipe)?;
        }
        if stored == Some(false) {
            // It rotted, and is not needed any more.
            fs::remove_file(&whole)?;
        }
    }
    Ok(Blob { digest, size })
}

fn write(store: &Store, recipe: &Recipe) -> io::Result<()> {
    let (path, bytes) = recipe.to_file(store).map_err(io::Error::other)?;
    let (directory, above) = (atomic_file::directory_of(&path), store.images_directory());
    atomic_file::make_directory(directory)?;
    atomic_file::sync_directory(store.root())?;
    atomic_file::sync_directory(&above)?;
    atomic_file::write(&path, READ_ONLY, &bytes)
}

/// Whether a blob has the bytes that it is named by; nothing if there is none.
fn is_sound(blob: &Path, digest: &Digest, stop: &Stop) -> io::Result<Option<bool>> {
    match File::open(blob) {
        Ok(file) => Ok(Some(hash_stream::digest(file, stop, |_| {})?.0 == *digest)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts chunks into a store.
struct Cutter<'a> {
    store: &'a Store,
    new: Mutex<New>,
}

/// Chunks that the store does not have yet.
#[derive(Default)]
struct New {
    seen: HashSet<Digest>,
    /// Under a passing name, and closed: there can be more than a process may have open.
    written: Vec<(TempPath, Digest)>,
}

impl<'a> Cutter<'a> {
    fn new(store: &'a Store) -> Self {
        let new = Mutex::default();
        Self { store, new }
    }

    fn cut(
        &self,
        file: &File,
        threads: usize,
        stop: &Stop,
        progress: impl Fn(u64),
    ) -> io::Result<(Digest, u64, Vec<Chunk>)> {
        let mut hasher = Sha256::new();
        let mut size = 0;
        std::thread::scope(|scope| {
            let mut turns = Vec::with_capacity(threads);
            for _ in 0..threads {
                let (sender, receiver) = sync_channel(WAITING);
                turns.push((sender, scope.spawn(move || self.take(&receiver))));
            }
            let mut number = 0;
            for part in StreamCDC::with_level(file, SHORTEST, USUAL, LONGEST, EVEN) {
                stop.check()?;
                let data = part?.data;
                hasher.update(&data);
                size += data.len() as u64;
                progress(data.len() as u64);
                let sender: &SyncSender<_> = &turns[number % threads].0;
                number += 1;
                if sender.send(data).is_err() {
                    // The thread has failed, and says below why.
                    break;
                }
            }
            let threads: Vec<_> = turns.into_iter().map(|(_, thread)| thread).collect();
            let mut kept = Vec::with_capacity(threads.len());
            for thread in threads {
                let chunks = thread.join();
                let chunks = chunks.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                kept.push(chunks.into_iter());
            }
            let count = kept.len();
            let ordered = (0..number).filter_map(|number| kept[number % count].next());
            Ok((Digest::from_hasher(hasher), size, merged(ordered)))
        })
    }

    fn take(&self, parts: &Receiver<Vec<u8>>) -> io::Result<Vec<Chunk>> {
        let mut compressor = Compressor::new(LEVEL)?;
        let kept = |data: Vec<u8>| self.keep(&mut compressor, &data);
        parts.iter().map(kept).collect()
    }

    fn keep(&self, compressor: &mut Compressor<'_>, data: &[u8]) -> io::Result<Chunk> {
        let length = data.len() as u64;
        if data.iter().all(|byte| *byte == 0) {
            let kept = Kept::Zeros;
            return Ok(Chunk { length, kept });
        }
        let packed = compressor.compress(data)?;
        let is_worth_it = packed.len() + data.len() / WORTH < data.len();
        let stored = if is_worth_it { &packed } else { data };
        let digest = Digest::of(stored);
        if self.lock().seen.insert(digest) && !self.has(&digest, stored)? {
            let written = self.write(stored)?;
            self.lock().written.push((written, digest));
        }
        let kept = if is_worth_it {
            Kept::Zstd(digest)
        } else {
            Kept::Plain(digest)
        };
        Ok(Chunk { length, kept })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, New> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the blob is there, and sound: one that rotted is written once more.
    fn has(&self, digest: &Digest, bytes: &[u8]) -> io::Result<bool> {
        let mut found = Vec::with_capacity(bytes.len() + 1);
        let most = bytes.len() as u64 + 1;
        let mut read = || {
            File::open(self.store.blob(digest))?
                .take(most)
                .read_to_end(&mut found)
        };
        match read() {
            Ok(_) => Ok(found == bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<TempPath> {
        let mut named = tempfile::Builder::new();
        let named = named
            .prefix(UNFINISHED)
            .make_in(self.store.blobs(), |path| {
                let mut options = File::options();
                options.write(true).create_new(true).mode(READ_ONLY);
                options.open(path)
            })?;
        let (mut file, path) = named.into_parts();
        file.write_all(bytes)?;
        Ok(path)
    }

    /// Gives every chunk its name, once its bytes are on the disk.
    fn finish(self) -> io::Result<()> {
        let written = self
            .new
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let blobs = File::open(self.store.blobs())?;
        // One for thousands of files: each by itself would wait for the journal of the file system.
        rustix::fs::syncfs(&blobs)?;
        for (path, digest) in written.written {
            path.persist(self.store.blob(&digest))?;
        }
        blobs.sync_all()
    }
}

/// Zeros that follow each other are one part.
fn merged(chunks: impl Iterator<Item = Chunk>) -> Vec<Chunk> {
    let mut merged: Vec<Chunk> = Vec::new();
    for chunk in chunks {
        match merged.last_mut() {
            Some(last) if (last.kept, chunk.kept) == (Kept::Zeros, Kept::Zeros) => {
                last.length += chunk.length;
            }
            _ => merged.push(chunk),
        }
    }
    merged
}
