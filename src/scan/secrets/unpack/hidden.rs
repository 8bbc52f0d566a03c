//! Detects formats that hide text, by the first bytes of a file.

use std::io::{self, BufRead, Read};

/// A format that hides text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::scan::secrets) enum Hidden {
    Gzip,
    Zstd,
    Xz,
    Tar,
    Zip,
    Cpio,
    /// Little-endian or big-endian UTF-16.
    Utf16 {
        low_first: bool,
    },
    Journal,
    Sqlite,
    /// A format that is not supported, by name.
    Unknown(&'static str),
}

impl Hidden {
    /// Returns the format of a file by its first bytes.
    pub(in crate::scan::secrets) fn detect(head: &[u8]) -> Option<Self> {
        if head.get(257..262) == Some(b"ustar") {
            return Some(Self::Tar);
        }
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'P', b'K', 3, 4, ..] => Some(Self::Zip),
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => Some(Self::Cpio),
            [b'L', b'P', b'K', b'S', b'H', b'H', b'R', b'H', ..] => Some(Self::Journal),
            [0xff, 0xfe, _, 0, ..] => Some(Self::Utf16 { low_first: true }),
            [0xfe, 0xff, 0, ..] => Some(Self::Utf16 { low_first: false }),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Some(Self::Unknown("bzip2")),
            [4, 0x22, 0x4d, 0x18, ..] => Some(Self::Unknown("LZ4")),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Some(Self::Unknown("7-Zip")),
            [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => Some(Self::Unknown("RAR")),
            [b'h', b's', b'q', b's', ..] => Some(Self::Unknown("squashfs")),
            _ if head.starts_with(b"SQLite format 3\0") => Some(Self::Sqlite),
            _ => utf16_without_mark(head),
        }
    }
}

/// Detects UTF-16 without a byte order mark: in Latin text every other byte is zero.
fn utf16_without_mark(head: &[u8]) -> Option<Hidden> {
    let pairs = head.len() / 2;
    let zero = |first: usize| {
        head.iter()
            .skip(first)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (zero(0), zero(1));
    let mostly = |high: usize, low: usize| pairs >= 8 && high * 10 >= pairs * 9 && low == 0;
    if mostly(odd, even) {
        Some(Hidden::Utf16 { low_first: true })
    } else if mostly(even, odd) {
        Some(Hidden::Utf16 { low_first: false })
    } else {
        None
    }
}

/// Converts UTF-16 to bytes. Characters beyond Latin-1 become `?`, which no rule accepts in a secret.
pub(super) struct Narrow<R> {
    wide: R,
    low_first: bool,
}

impl<R: BufRead> Narrow<R> {
    pub(super) fn new(wide: R, low_first: bool) -> Self {
        Self { wide, low_first }
    }
}

impl<R: BufRead> Read for Narrow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        let mut pair = [0; 2];
        while filled < buffer.len() {
            match self.wide.read_exact(&mut pair) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let [low, high] = if self.low_first {
                pair
            } else {
                [pair[1], pair[0]]
            };
            buffer[filled] = if high == 0 { low } else { b'?' };
            filled += 1;
        }
        Ok(filled)
    }
}
