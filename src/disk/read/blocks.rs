//! Disks as bytes at offsets.

use super::fields::to_index;
use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::ReadError;

/// Bytes at offsets: a raw disk, a qcow2 chain, a partition of either.
#[expect(
    clippy::len_without_is_empty,
    reason = "no caller distinguishes an empty disk"
)]
pub trait BlockRead: Send + Sync {
    /// Returns the size in bytes.
    fn len(&self) -> u64;

    /// Fills the buffer with the bytes at `offset`.
    ///
    /// # Errors
    /// The range reaches outside of the disk, is damaged, or the host cannot read it.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError>;

    /// Returns the span of bytes at `offset` that are known to be zero, or may be data, without reading them: holes cost
    /// nothing. A span is never empty before the end of the disk.
    ///
    /// # Errors
    /// A table of the image is damaged, or the host cannot read it.
    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        Ok(Span::data(self.len().saturating_sub(offset)))
    }
}

/// Bytes that are known to be zero, or may be data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Number of bytes; the next span may be of the same kind.
    pub length: u64,
    /// Known to be zero. Other spans may be zero, too.
    pub zero: bool,
}

impl Span {
    /// Returns a span that is known to be zero.
    pub(crate) fn zeros(length: u64) -> Self {
        Self { length, zero: true }
    }

    /// Returns a span that may be data.
    pub(crate) fn data(length: u64) -> Self {
        let zero = false;
        Self { length, zero }
    }

    /// Cuts the span to `length` bytes.
    pub(crate) fn at_most(self, length: u64) -> Self {
        let length = length.min(self.length);
        Self { length, ..self }
    }
}

impl<D: Deref<Target: BlockRead> + Send + Sync> BlockRead for D {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        (**self).read_at(offset, buffer)
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        (**self).span(offset)
    }
}

/// Fails unless the bytes are within the first `size`.
pub(in crate::disk) fn check(offset: u64, length: u64, size: u64) -> Result<(), ReadError> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        _ => Err(ReadError::Outside {
            offset,
            length,
            size,
        }),
    }
}

/// A raw disk in a file, or a block device.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    path: PathBuf,
    length: u64,
}

impl RawFile {
    /// Opens a file or block device for reading.
    ///
    /// # Errors
    /// It cannot be opened, or has no size.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let error = |source| ReadError::Io {
            what: path.display().to_string(),
            source,
        };
        let file = File::open(path).map_err(error)?;
        // Unlike the size in its metadata, this is right for a block device, too.
        let length = seek(&file, SeekFrom::End(0)).map_err(|errno| error(errno.into()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
        })
    }

    fn error(&self, source: std::io::Error) -> ReadError {
        ReadError::Io {
            what: self.path.display().to_string(),
            source,
        }
    }

    /// Returns the offset of the next data or hole, or else the end.
    fn next(&self, whence: SeekFrom) -> Result<u64, ReadError> {
        match seek(&self.file, whence) {
            Ok(offset) => Ok(offset.min(self.length)),
            Err(Errno::NXIO) => Ok(self.length),
            Err(errno) => Err(self.error(errno.into())),
        }
    }
}

impl BlockRead for RawFile {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        check(offset, buffer.len() as u64, self.length)?;
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| self.error(source))
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let data = self.next(SeekFrom::Data(offset))?;
        if data > offset {
            return Ok(Span::zeros(data - offset));
        }
        let hole = self.next(SeekFrom::Hole(offset))?;
        Ok(Span::data(hole.saturating_sub(offset)))
    }
}

/// A disk in memory.
#[derive(Clone, Debug)]
pub struct Memory(pub Vec<u8>);

impl BlockRead for Memory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        check(offset, buffer.len() as u64, self.len())?;
        let start = to_index(offset);
        if let Some(bytes) = self
            .0
            .get(start..)
            .and_then(|rest| rest.get(..buffer.len()))
        {
            buffer.copy_from_slice(bytes);
        }
        Ok(())
    }
}

/// A part of a disk, such as a partition.
#[derive(Clone, Debug)]
pub struct Slice<B> {
    disk: B,
    start: u64,
    length: u64,
}

impl<B: BlockRead> Slice<B> {
    /// Takes the `length` bytes of `disk` from `start` on.
    ///
    /// # Errors
    /// The range reaches outside of the disk.
    pub fn new(disk: B, start: u64, length: u64) -> Result<Self, ReadError> {
        check(start, length, disk.len())?;
        Ok(Self {
            disk,
            start,
            length,
        })
    }
}

impl<B: BlockRead> BlockRead for Slice<B> {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        check(offset, buffer.len() as u64, self.length)?;
        self.disk.read_at(self.start + offset, buffer)
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        match self.length.saturating_sub(offset) {
            0 => Ok(Span::zeros(0)),
            left => Ok(self.disk.span(self.start + offset)?.at_most(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let disk = Memory((0..=255).collect());
        let part = Slice::new(disk.clone(), 16, 32).unwrap();
        let mut two = [0; 2];
        for (offset, expected) in [
            (0, Some([16, 17])),
            (30, Some([46, 47])),
            (31, None),
            (u64::MAX, None),
        ] {
            let read = part.read_at(offset, &mut two);
            assert_eq!(read.is_ok().then_some(two), expected, "at {offset}");
        }
        for (start, length) in [(256, 1), (1, u64::MAX), (u64::MAX, 1)] {
            assert!(
                Slice::new(disk.clone(), start, length).is_err(),
                "{start}+{length}"
            );
        }
    }

    #[test]
    fn holes_of_a_file_are_seen_through_a_partition() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 20).unwrap();
        file.as_file().write_all_at(&[1; 4096], 1 << 20).unwrap();
        let disk = RawFile::open(file.path()).unwrap();
        let part = Slice::new(&disk as &dyn BlockRead, 1 << 19, 3 << 20).unwrap();
        let (mut at, mut data) = (0, 0);
        while at < part.len() {
            let span = part.span(at).unwrap();
            assert!(span.length > 0, "at {at}");
            data += if span.zero { 0 } else { span.length };
            at += span.length;
        }
        assert_eq!((at, data), (3 << 20, 4096));
    }
}
