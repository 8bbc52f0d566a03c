//! Random access to an image of the store, with a cache of recent segments.

use std::sync::Arc;

use super::chunk_reader::{Loader, Segment, Verify};
use super::image::Image;
use crate::disk::read::cache::Cache;
use crate::disk::read::{BlockRead, ReadError, Span};

/// Segments in the cache: 4 MiB of chunks of average length, 16 MiB of the longest.
const CACHED_SEGMENTS: usize = 64;

/// The bytes of an image file at any offset. Chunks are verified when they are read.
pub struct ImageDisk {
    image: Image,
    segments: Vec<Segment>,
    /// End offset of each segment.
    ends: Vec<u64>,
    cache: Cache<[u8]>,
}

impl ImageDisk {
    /// Returns a disk that reads `image`.
    #[must_use]
    pub fn new(image: Image) -> Self {
        let segments = image.segments();
        let ends = segments.iter().scan(0, |end, segment| {
            *end += segment.length();
            Some(*end)
        });
        Self {
            ends: ends.collect(),
            segments,
            cache: Cache::new(CACHED_SEGMENTS),
            image,
        }
    }

    /// Returns number, segment and end offset of the segment at `offset`.
    fn segment_at(&self, offset: u64) -> Option<(usize, Segment, u64)> {
        let number = self.ends.partition_point(|end| *end <= offset);
        let segment = self.segments.get(number)?;
        Some((number, *segment, *self.ends.get(number)?))
    }

    fn load(&self, number: usize, segment: &Segment) -> Result<Arc<[u8]>, ReadError> {
        self.cache.get(number as u64, || {
            Loader::new(&self.image, Verify::EachChunk)
                .and_then(|mut loader| loader.load(segment))
                .map(Arc::from)
                .map_err(|error| ReadError::Io {
                    what: format!("the image {}", self.image.digest()),
                    source: std::io::Error::other(error),
                })
        })
    }
}

impl BlockRead for ImageDisk {
    fn len(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let (mut at, mut buffer) = (offset, buffer);
        while !buffer.is_empty() {
            let Some((number, segment, end)) = self.segment_at(at) else {
                return Err(ReadError::Outside {
                    offset,
                    length: (at - offset) + buffer.len() as u64,
                    size: self.len(),
                });
            };
            let length =
                usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let (now, rest) = buffer.split_at_mut(length);
            if let Segment::Zeros(_) = segment {
                now.fill(0);
            } else {
                let bytes = self.load(number, &segment)?;
                // A segment fits into memory, so an offset in it does.
                let from = usize::try_from(at - (end - segment.length())).unwrap_or(usize::MAX);
                let bytes = bytes.get(from..).and_then(|rest| rest.get(..length));
                now.copy_from_slice(bytes.ok_or(ReadError::Outside {
                    offset: at,
                    length: length as u64,
                    size: self.len(),
                })?);
            }
            at += length as u64;
            buffer = rest;
        }
        Ok(())
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let Some((_, segment, end)) = self.segment_at(offset) else {
            return Ok(Span::zeros(0));
        };
        Ok(match segment {
            Segment::Zeros(_) => Span::zeros(end - offset),
            _ => Span::data(end - offset),
        })
    }
}
