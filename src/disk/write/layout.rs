//! A disk that is not there yet: its bytes are made when they are read.

use super::WriteError;
use crate::disk::read::{BlockRead, FileSystem, ReadError, Span};
use crate::disk::tree::Tree;

/// Bytes that are compressed at once: so much is decompressed for any of them.
pub(super) const PACKED: usize = 1 << 16;
/// Fast: nobody sees it.
const PACKED_LEVEL: i32 = 1;

/// Bytes at an offset. Between pieces there are zeros.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) length: u64,
    pub(super) source: Source,
}

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Metadata.
    Here(Box<[u8]>),
    /// Metadata of which there can be much, compressed.
    Packed(Box<[u8]>),
    /// A file of the tree, from an offset on.
    File { file: usize, offset: u64 },
    /// The disk that is read, from an offset on.
    Carried { offset: u64 },
}

impl Piece {
    pub(super) fn here(at: u64, bytes: Vec<u8>) -> Self {
        Self {
            at,
            length: bytes.len() as u64,
            source: Source::Here(bytes.into_boxed_slice()),
        }
    }

    /// At most [`PACKED`] bytes.
    pub(super) fn packed(at: u64, bytes: &[u8]) -> std::io::Result<Self> {
        let packed = zstd::bulk::compress(bytes, PACKED_LEVEL)?;
        Ok(Self {
            at,
            length: bytes.len() as u64,
            source: Source::Packed(packed.into_boxed_slice()),
        })
    }

    fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// A disk made of pieces. Reading it reads files of the tree through the file system that they come from.
pub struct Disk<'a> {
    size: u64,
    pieces: Vec<Piece>,
    tree: &'a Tree,
    files: &'a dyn FileSystem,
    carried: &'a dyn BlockRead,
}

impl<'a> Disk<'a> {
    /// Puts pieces together, which must not overlap.
    pub(super) fn new(
        size: u64,
        mut pieces: Vec<Piece>,
        tree: &'a Tree,
        files: &'a dyn FileSystem,
        carried: &'a dyn BlockRead,
    ) -> Result<Self, WriteError> {
        pieces.retain(|piece| piece.length > 0);
        pieces.sort_by_key(|piece| piece.at);
        let ends = pieces.iter().map(Piece::end);
        let next = pieces.iter().skip(1).map(|piece| piece.at).chain([size]);
        if ends.zip(next).any(|(end, next)| end > next) {
            // Those of a file system never do, but a guest can write any table of partitions.
            return Err(WriteError::Unknown {
                what: "partitions that overlap each other or their table".to_owned(),
            });
        }
        Ok(Self {
            size,
            pieces,
            tree,
            files,
            carried,
        })
    }

    /// The first piece that ends behind an offset.
    fn first_after(&self, offset: u64) -> usize {
        self.pieces.partition_point(|piece| piece.end() <= offset)
    }

    fn fill(&self, piece: &Piece, from: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        match &piece.source {
            Source::Here(bytes) => {
                // Pieces in memory are smaller than it.
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
                Ok(())
            }
            Source::Packed(packed) => {
                let bytes = zstd::bulk::decompress(packed, PACKED);
                let bytes = bytes.map_err(|source| ReadError::Io {
                    what: "what is to be written".to_owned(),
                    source,
                })?;
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
                Ok(())
            }
            Source::File { file, offset } => self.fill_from_file(*file, offset + from, buffer),
            Source::Carried { offset } => self.carried.read_at(offset + from, buffer),
        }
    }

    fn fill_from_file(&self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let read = self.tree.files()[file]
            .content
            .read_at(self.files, offset, buffer)?;
        buffer[read..].fill(0);
        Ok(())
    }
}

impl BlockRead for Disk<'_> {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let end = end.ok_or(ReadError::Outside {
            offset,
            length,
            size: self.size,
        })?;
        // The difference of two offsets within the buffer.
        let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
        let mut at = offset;
        for piece in &self.pieces[self.first_after(offset)..] {
            if piece.at >= end {
                break;
            }
            let (from, to) = (piece.at.max(offset), piece.end().min(end));
            buffer[index(at)..index(from)].fill(0);
            self.fill(piece, from - piece.at, &mut buffer[index(from)..index(to)])?;
            at = to;
        }
        buffer[index(at)..].fill(0);
        Ok(())
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let Some(piece) = self.pieces.get(self.first_after(offset)) else {
            return Ok(Span {
                length: self.size.saturating_sub(offset),
                zero: true,
            });
        };
        if piece.at > offset {
            return Ok(Span {
                length: piece.at - offset,
                zero: true,
            });
        }
        let left = piece.end() - offset;
        match &piece.source {
            Source::Carried { offset: from } => {
                let span = self.carried.span(from + (offset - piece.at))?;
                Ok(Span {
                    length: span.length.min(left),
                    ..span
                })
            }
            Source::Here(_) | Source::Packed(_) | Source::File { .. } => Ok(Span {
                length: left,
                zero: false,
            }),
        }
    }
}
