//! An image in the store, read at any offset: what was read lately is kept.

use std::sync::Arc;

use super::chunk_reader::{Check, Loader, Part};
use super::image::Image;
use crate::disk::read::cache::Cache;
use crate::disk::read::{BlockRead, ReadError, Span};

/// Parts that are kept: 4 MiB of chunks of the usual length, 16 MiB of the longest.
const KEPT: usize = 64;

/// The file that an image is, as bytes at offsets. What is read of it is compared with the digest of its chunk.
pub struct ImageDisk {
    image: Image,
    parts: Vec<Part>,
    /// Where each part ends.
    ends: Vec<u64>,
    read: Cache<[u8]>,
}

impl ImageDisk {
    /// Reads this image.
    #[must_use]
    pub fn new(image: Image) -> Self {
        let parts = image.parts();
        let ends = parts.iter().scan(0, |end, part| {
            *end += part.length();
            Some(*end)
        });
        Self {
            ends: ends.collect(),
            parts,
            read: Cache::new(KEPT),
            image,
        }
    }

    /// The part that an offset is in, its number, and where it ends.
    fn part(&self, offset: u64) -> Option<(usize, Part, u64)> {
        let number = self.ends.partition_point(|end| *end <= offset);
        let part = self.parts.get(number)?;
        Some((number, *part, *self.ends.get(number)?))
    }

    fn load(&self, number: usize, part: &Part) -> Result<Arc<[u8]>, ReadError> {
        self.read.get(number as u64, || {
            let loader = Loader::new(&self.image, Check::Each);
            let bytes = loader.and_then(|mut loader| loader.load(part));
            bytes.map(Arc::from).map_err(|error| ReadError::Io {
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
            let Some((number, part, end)) = self.part(at) else {
                return Err(ReadError::Outside {
                    offset,
                    length: (at - offset) + buffer.len() as u64,
                    size: self.len(),
                });
            };
            let length = usize::try_from(end - at).map_or(buffer.len(), |it| it.min(buffer.len()));
            let (now, rest) = buffer.split_at_mut(length);
            if let Part::Zeros(_) = part {
                now.fill(0);
            } else {
                let bytes = self.load(number, &part)?;
                // A part fits into memory, so an offset in it does.
                let from = usize::try_from(at - (end - part.length())).unwrap_or(usize::MAX);
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
        let Some((_, part, end)) = self.part(offset) else {
            return Ok(Span {
                length: 0,
                zero: true,
            });
        };
        let zero = matches!(part, Part::Zeros(_));
        let length = end - offset;
        Ok(Span { length, zero })
    }
}
