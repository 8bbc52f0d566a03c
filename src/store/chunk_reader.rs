//! An image's parts, read ahead by several threads and taken in order.
//!
//! Every byte of them is compared once: a chunk that is kept as it is with the digest of the image that it is a part of, a
//! compressed one with its own. Hashing everything twice would take longer than writing it. When the image is not what it
//! must be, a second look at every chunk says which one is to blame.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};
use zstd::bulk::Decompressor;

use super::chunk_index::{Chunk, Kept};
use super::image::Image;
use super::{Blob, StoreError};
use crate::digest::Digest;
use crate::os::hash_stream::{Sparse, Stop};

/// Parts that a thread may have ready before they are taken: a few MiB at most.
const READY: usize = 8;
/// Zeros that are given at once.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A part of an image, and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// So many zeros.
    Zeros(u64),
    /// A chunk.
    Chunk(Chunk),
    /// From this offset on, so many bytes of a blob that is all of the image.
    Range(u64, u64),
}

impl Part {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Zeros(length) | Self::Range(_, length) => *length,
            Self::Chunk(chunk) => chunk.length,
        }
    }
}

/// The bytes of a part.
#[derive(Clone)]
enum Bytes {
    Zeros(u64),
    Here(Arc<Vec<u8>>),
}

impl Bytes {
    fn each<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Here(bytes) => take(bytes),
            Self::Zeros(length) => {
                let mut left = *length;
                while left > 0 {
                    let now =
                        usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
                    take(&ZEROS[..now])?;
                    left -= now as u64;
                }
                Ok(())
            }
        }
    }
}

impl Image {
    /// Gives its bytes to `sink`, in order, and compares every chunk and the whole with their digests.
    ///
    /// # Errors
    /// A part of it is missing or was changed, `sink` failed, or the work was told to stop.
    pub fn read(
        &self,
        stop: &Stop,
        mut sink: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Blob, StoreError> {
        let parts = self.parts();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.clamp(1, parts.len().max(1));
        let stopped = || stop.check().map_err(StoreError::io("read", &self.place()));
        let actual = std::thread::scope(|scope| {
            let mut ahead = Vec::with_capacity(threads);
            for own in 0..threads {
                let (sender, receiver) = sync_channel(READY);
                ahead.push(receiver);
                let own = parts.iter().skip(own).step_by(threads);
                scope.spawn(move || self.read_ahead(own, &sender));
            }
            // On a thread of its own: hashing and writing take about as long as each other.
            let (to_hash, hashed) = sync_channel(READY);
            let hashing = scope.spawn(move || hash(&hashed));
            for number in 0..parts.len() {
                stopped()?;
                // A thread that ends without a result has panicked, and the scope panics with it.
                let Ok(read) = ahead[number % threads].recv() else {
                    break;
                };
                let bytes: Bytes = read?;
                // It hashes until there is nothing more.
                let _sent = to_hash.send(bytes.clone());
                bytes.each(|bytes| {
                    stopped()?;
                    sink(bytes)
                })?;
            }
            drop(to_hash);
            let joined = hashing.join();
            let joined = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, StoreError>(joined)
        })?;
        let (digest, size) = (self.digest(), self.size());
        if actual != digest {
            return Err(self.blame(&parts, actual));
        }
        Ok(Blob { digest, size })
    }

    /// Writes its bytes to a new, empty file, with holes where there are only zeros. `path` is for errors.
    ///
    /// # Errors
    /// Those of [`Self::read`], or the file cannot be written.
    pub fn write_to(&self, file: &mut File, path: &Path, stop: &Stop) -> Result<Blob, StoreError> {
        let mut sparse = Sparse::new(file);
        let blob = self.read(stop, |bytes| {
            let written = sparse.write_all(bytes);
            written.map_err(StoreError::io("write", path))
        })?;
        sparse.finish().map_err(StoreError::io("write", path))?;
        Ok(blob)
    }

    /// Which chunk makes an image another one.
    fn blame(&self, parts: &[Part], actual: Digest) -> StoreError {
        let look = || {
            let mut loader = Loader::new(self, Check::Each)?;
            for part in parts.iter().filter(|part| matches!(part, Part::Chunk(_))) {
                loader.load(part)?;
            }
            let path = self.place();
            Err::<(), _>(StoreError::Tampered { path, actual })
        };
        look().err().unwrap_or(StoreError::NoImage(self.digest()))
    }

    fn read_ahead<'p>(
        &self,
        parts: impl Iterator<Item = &'p Part>,
        sender: &SyncSender<Result<Bytes, StoreError>>,
    ) {
        let mut loader = match Loader::new(self, Check::Whole) {
            Ok(loader) => loader,
            Err(error) => {
                let _nobody_waits = sender.send(Err(error));
                return;
            }
        };
        for part in parts {
            let bytes = match part {
                Part::Zeros(length) => Ok(Bytes::Zeros(*length)),
                part => loader.load(part).map(|bytes| Bytes::Here(Arc::new(bytes))),
            };
            let failed = bytes.is_err();
            if sender.send(bytes).is_err() || failed {
                return;
            }
        }
    }
}

fn hash(parts: &Receiver<Bytes>) -> Digest {
    let mut hasher = Sha256::new();
    for bytes in parts {
        let update = |bytes: &[u8]| {
            hasher.update(bytes);
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(()) = bytes.each(update);
    }
    Digest::from_hasher(hasher)
}

/// What the bytes of a chunk that is kept as it is are compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Check {
    /// Its own digest.
    Each,
    /// Nothing yet: the caller hashes the whole image.
    Whole,
}

/// Reads parts of one image.
pub(super) struct Loader<'a> {
    image: &'a Image,
    check: Check,
    whole: Option<(File, PathBuf)>,
    decompressor: Decompressor<'static>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(image: &'a Image, check: Check) -> Result<Self, StoreError> {
        let open = |path: &Path| {
            let file = File::open(path).map_err(StoreError::io("read", path))?;
            Ok::<_, StoreError>((file, path.to_owned()))
        };
        Ok(Self {
            image,
            check,
            whole: image.path().map(open).transpose()?,
            decompressor: Decompressor::new().map_err(StoreError::io("unpack", &image.place()))?,
        })
    }

    /// The bytes of a part.
    pub(super) fn load(&mut self, part: &Part) -> Result<Vec<u8>, StoreError> {
        match (part, &self.whole) {
            (Part::Chunk(chunk), _) => self.chunk(chunk),
            (Part::Range(from, length), Some((file, path))) => {
                let mut bytes = vec![0; index(*length)];
                let read = file.read_exact_at(&mut bytes, *from);
                read.map_err(StoreError::io("read", path))?;
                Ok(bytes)
            }
            (Part::Zeros(length) | Part::Range(_, length), _) => Ok(vec![0; index(*length)]),
        }
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<Vec<u8>, StoreError> {
        let (Kept::Plain(digest) | Kept::Zstd(digest)) = chunk.kept else {
            return Ok(vec![0; index(chunk.length)]);
        };
        let (path, image) = (self.image.store().blob(&digest), self.image.digest());
        let mut stored = Vec::with_capacity(index(chunk.length) + 1);
        // One that has grown is not read to its end: no memory would be large enough for that.
        let mut read = || {
            File::open(&path)?
                .take(chunk.length + 1)
                .read_to_end(&mut stored)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::MissingChunk { image, path });
            }
            read => read.map_err(StoreError::io("read", &path))?,
        };
        let is_plain = chunk.kept == Kept::Plain(digest);
        if is_plain && self.check == Check::Whole && stored.len() as u64 == chunk.length {
            return Ok(stored);
        }
        let actual = Digest::of(&stored);
        if actual != digest {
            return Err(StoreError::DamagedChunk {
                image,
                path,
                actual,
            });
        }
        if is_plain {
            return Ok(stored);
        }
        let bytes = self.decompressor.decompress(&stored, index(chunk.length));
        bytes.map_err(StoreError::io("unpack", &path))
    }
}

/// What fits into memory, as a chunk does.
fn index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
