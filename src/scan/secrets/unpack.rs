//! Files that hide their text: compressed, in UTF-16, or journals with compressed fields.

use std::io::{BufRead, BufReader, Read, Take};

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use zstd::stream::read::Decoder;

use super::text::{Found, Part, search};

/// Bytes that one file is unpacked to at most: more than any log, less than a bomb.
pub(super) const MOST: u64 = 256 << 20;
/// The same for all files together: a disk of bombs would keep us for days.
pub(super) const MOST_OF_ALL: u64 = 4 << 30;
/// KiB that unpacking one xz file may take: what `xz -9` needs. Its header could claim 4 GiB.
const XZ_MEMORY: u32 = 80 << 10;
/// A field of a journal is no longer: systemd's own limit for what it reads back is 768 MiB, but a message has some KiB.
const FIELD: u64 = 1 << 20;
/// What it costs to look for a frame where there is none, in bytes: a journal can be made of nothing but starts of frames.
const TRY: u64 = 4 << 10;
/// Bytes of a journal that are looked at in one go.
const PIECE: usize = 4 << 20;
/// The start of a frame of zstd.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How a file hides its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hidden {
    Gzip,
    Zstd,
    Xz,
    /// The first byte of each pair is the one that counts, or the second.
    Utf16 {
        low_first: bool,
    },
    Journal,
}

impl Hidden {
    /// What the start of a file says.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [b'L', b'P', b'K', b'S', b'H', b'H', b'R', b'H', ..] => Some(Self::Journal),
            [0xff, 0xfe, _, 0, ..] => Some(Self::Utf16 { low_first: true }),
            [0xfe, 0xff, 0, ..] => Some(Self::Utf16 { low_first: false }),
            _ => utf16_without_mark(head),
        }
    }

    /// What is found in the text, of which at most so many bytes are looked at, and how many more it could have been: none
    /// where there may be more text.
    pub(super) fn search(self, path: &[u8], input: &mut dyn Read, most: u64) -> (Vec<Found>, u64) {
        let buffered = BufReader::with_capacity(1 << 16, input);
        match self {
            Self::Gzip => bounded(path, MultiGzDecoder::new(buffered), most),
            // What says that it is zstd and is not has been searched as it is.
            Self::Zstd => Decoder::with_buffer(buffered)
                .map_or((Vec::new(), most), |unpacked| bounded(path, unpacked, most)),
            Self::Xz => bounded(
                path,
                XzReader::new_mem_limit(buffered, true, XZ_MEMORY),
                most,
            ),
            Self::Utf16 { low_first } => bounded(
                path,
                Narrow {
                    wide: buffered,
                    low_first,
                },
                most,
            ),
            Self::Journal => journal(path, buffered, most),
        }
    }
}

/// Text of the Latin alphabet without a mark in front: every other byte is zero.
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

fn bounded(path: &[u8], unpacked: impl Read, most: u64) -> (Vec<Found>, u64) {
    let mut limited: Take<_> = unpacked.take(most);
    let found = search(path, &mut limited, Part::ALL);
    (found, limited.limit())
}

/// UTF-16 as bytes: what is not Latin becomes `?`, which is in no secret's form.
struct Narrow<R> {
    wide: R,
    low_first: bool,
}

impl<R: BufRead> Read for Narrow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        let mut pair = [0; 2];
        while filled < buffer.len() {
            match self.wide.read_exact(&mut pair) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
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

/// The fields of a journal that are compressed with zstd, which is systemd's default for long ones. The others are in
/// the file as they are.
fn journal(path: &[u8], mut input: impl Read, most: u64) -> (Vec<Found>, u64) {
    let frame = usize::try_from(FIELD).unwrap_or(usize::MAX);
    let (mut buffer, mut base, mut left) = (Vec::new(), 0, most);
    let mut found = Vec::new();
    loop {
        let room = (PIECE + frame).saturating_sub(buffer.len()) as u64;
        let ended = !matches!(input.by_ref().take(room).read_to_end(&mut buffer), Ok(read) if read as u64 == room);
        let until = if ended { buffer.len() } else { PIECE };
        for at in memchr::memmem::find_iter(&buffer, &ZSTD).take_while(|at| *at < until) {
            let Ok(unpacked) = Decoder::with_buffer(&buffer[at..]) else {
                continue;
            };
            let mut limited = unpacked.single_frame().take(FIELD.min(left));
            let before = limited.limit();
            for mut one in search(path, &mut limited, Part::ALL) {
                // Of the fields only the journal knows where they are.
                (one.start, one.end, one.line) = (
                    base + at as u64,
                    base + at as u64 + one.end - one.start,
                    None,
                );
                found.push(one);
            }
            left = left.saturating_sub((before - limited.limit()).max(TRY));
            if left == 0 {
                return (found, 0);
            }
        }
        if ended {
            return (found, left);
        }
        buffer.drain(..until);
        base += until as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_file_says_how_it_hides_its_text() {
        for (head, expected) in [
            (&b"\x1f\x8b\x08\0"[..], Some(Hidden::Gzip)),
            (b"\x28\xb5\x2f\xfd\0", Some(Hidden::Zstd)),
            (b"\xfd7zXZ\0", Some(Hidden::Xz)),
            (b"LPKSHHRH", Some(Hidden::Journal)),
            (b"\xff\xfeA\0", Some(Hidden::Utf16 { low_first: true })),
            (b"\xfe\xff\0A", Some(Hidden::Utf16 { low_first: false })),
            (
                b"p\0a\0s\0s\0w\0o\0r\0d\0",
                Some(Hidden::Utf16 { low_first: true }),
            ),
            (
                b"\0p\0a\0s\0s\0w\0o\0r\0d",
                Some(Hidden::Utf16 { low_first: false }),
            ),
            (b"PATH=/bin\0A=b\0", None),
            (&[0; 64], None),
            (b"", None),
        ] {
            assert_eq!(Hidden::of(head), expected, "{head:?}");
        }
    }
}
