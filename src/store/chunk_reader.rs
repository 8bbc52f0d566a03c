//! Reads the segments of an image on several threads, and delivers them in order.
//!
//! Every byte is verified once: an uncompressed chunk as part of the digest of the image, a compressed one by its own digest.
//! Hashing everything twice would take longer than writing it. If the image does not have its digest, a second pass verifies
//! each chunk to find the damaged one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use zstd::bulk::Decompressor;

use super::chunk_index::{Chunk, Encoding};
use super::image::Image;
use super::{Blob, StoreError};
use crate::digest::Digest;
use crate::disk::read::to_index;
use crate::os::hash_stream::{Sparse, Stop, StreamHash, zeros};
use crate::os::if_exists;
use crate::os::ordered::map_in_order;

/// Segments that a thread may read ahead: a few MiB at most.
const READ_AHEAD: usize = 8;

/// A segment of an image, and where its bytes are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Segment {
    /// A number of zero bytes.
    Zeros(u64),
    Chunk(Chunk),
    /// Offset and length in the blob that is the whole image.
    Range(u64, u64),
}

impl Segment {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Zeros(length) | Self::Range(_, length) => *length,
            Self::Chunk(chunk) => chunk.length,
        }
    }
}

/// The bytes of a segment. A run of zeros may be larger than memory.
#[derive(Clone)]
enum Bytes {
    Zeros(u64),
    Loaded(Arc<Vec<u8>>),
}

impl Bytes {
    fn try_for_each<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Loaded(bytes) => take(bytes),
            Self::Zeros(length) => zeros(*length).try_for_each(take),
        }
    }
}

impl Image {
    /// Writes the bytes of the image to `sink`, in order, and verifies them. The bytes are not to be used if this fails.
    pub fn read(
        &self,
        stop: &Stop,
        mut sink: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Blob, StoreError> {
        let segments = self.segments();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.clamp(1, segments.len().max(1));
        let check_stop = || {
            stop.check()
                .map_err(StoreError::io("read", &self.location()))
        };
        let actual = std::thread::scope(|scope| {
            // Hashing has a thread of its own because it takes about as long as writing.
            let (to_hash, hashed) = sync_channel(READ_AHEAD);
            let hashing = scope.spawn(move || hash(&hashed));
            map_in_order(
                segments.iter().map(Ok),
                (threads, READ_AHEAD),
                || Loader::new(self, Verify::Image),
                Loader::load_bytes,
                |bytes: Bytes| {
                    // The hashing thread receives until the sender is dropped.
                    let _sent = to_hash.send(bytes.clone());
                    bytes.try_for_each(|bytes| {
                        check_stop()?;
                        sink(bytes)
                    })
                },
            )?;
            drop(to_hash);
            let digest = hashing
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, StoreError>(digest)
        })?;
        let (digest, size) = (self.digest(), self.size());
        if actual != digest {
            return Err(self.find_damage(&segments, actual));
        }
        Ok(Blob { digest, size })
    }

    /// Writes the image to a new, empty file, with holes for zeros. `path` is for errors.
    pub fn write_to(&self, file: &mut File, path: &Path, stop: &Stop) -> Result<Blob, StoreError> {
        let mut sparse = Sparse::new(file);
        let blob = self.read(stop, |bytes| {
            sparse
                .write_all(bytes)
                .map_err(StoreError::io("write", path))
        })?;
        sparse.finish().map_err(StoreError::io("write", path))?;
        Ok(blob)
    }

    /// Verifies each chunk of an image whose digest is `actual`, and returns the error of the first damaged one.
    fn find_damage(&self, segments: &[Segment], actual: Digest) -> StoreError {
        let verify = || {
            let mut loader = Loader::new(self, Verify::EachChunk)?;
            for segment in segments {
                if let Segment::Chunk(_) = segment {
                    loader.load(segment)?;
                }
            }
            Ok(())
        };
        let path = self.location();
        verify()
            .err()
            .unwrap_or(StoreError::Tampered { path, actual })
    }
}

fn hash(segments: &Receiver<Bytes>) -> Digest {
    let mut hash = StreamHash::default();
    for bytes in segments {
        match bytes {
            Bytes::Zeros(count) => hash.update_zeros(count),
            Bytes::Loaded(bytes) => hash.update(&bytes),
        }
    }
    hash.digest()
}

/// Digest that uncompressed chunks are verified by. Compressed chunks are always verified by their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verify {
    /// The chunk's own, when it is loaded.
    EachChunk,
    /// The image's: the caller computes it.
    Image,
}

/// Loads segments of one image.
pub(super) struct Loader<'a> {
    image: &'a Image,
    verify: Verify,
    whole: Option<(File, PathBuf)>,
    decompressor: Decompressor<'static>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(image: &'a Image, verify: Verify) -> Result<Self, StoreError> {
        let open = |path: &Path| {
            let file = File::open(path).map_err(StoreError::io("read", path))?;
            Ok::<_, StoreError>((file, path.to_owned()))
        };
        Ok(Self {
            image,
            verify,
            whole: image.path().map(open).transpose()?,
            decompressor: Decompressor::new()
                .map_err(StoreError::io("unpack", &image.location()))?,
        })
    }

    fn load_bytes(&mut self, segment: &Segment) -> Result<Bytes, StoreError> {
        match segment {
            Segment::Zeros(length) => Ok(Bytes::Zeros(*length)),
            segment => Ok(Bytes::Loaded(Arc::new(self.load(segment)?))),
        }
    }

    pub(super) fn load(&mut self, segment: &Segment) -> Result<Vec<u8>, StoreError> {
        match (segment, &self.whole) {
            (Segment::Chunk(chunk), _) => self.load_chunk(chunk),
            (Segment::Range(from, length), Some((file, path))) => {
                let mut bytes = vec![0; to_index(*length)];
                file.read_exact_at(&mut bytes, *from)
                    .map_err(StoreError::io("read", path))?;
                Ok(bytes)
            }
            (Segment::Zeros(length) | Segment::Range(_, length), _) => {
                Ok(vec![0; to_index(*length)])
            }
        }
    }

    fn load_chunk(&mut self, chunk: &Chunk) -> Result<Vec<u8>, StoreError> {
        let (Encoding::Plain(digest) | Encoding::Zstd(digest)) = chunk.encoding else {
            return Ok(vec![0; to_index(chunk.length)]);
        };
        let (path, image) = (self.image.store().blob(&digest), self.image.digest());
        let mut stored = Vec::with_capacity(to_index(chunk.length) + 1);
        let file = if_exists(File::open(&path)).map_err(StoreError::io("read", &path))?;
        let Some(file) = file else {
            return Err(StoreError::MissingChunk { image, path });
        };
        // A blob that has grown is not read to its end: it may be larger than memory.
        file.take(chunk.length + 1)
            .read_to_end(&mut stored)
            .map_err(StoreError::io("read", &path))?;
        let is_plain = chunk.encoding == Encoding::Plain(digest);
        if is_plain && self.verify == Verify::Image && stored.len() as u64 == chunk.length {
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
        self.decompressor
            .decompress(&stored, to_index(chunk.length))
            .map_err(StoreError::io("unpack", &path))
    }
}
