//! Fields of a journal that are compressed: by zstd, which is systemd's default, or by LZ4 or xz, which were it before.
//! The others are in the file as they are.

use std::io::{Cursor, Read};

use lzma_rust2::XzReader;
use zstd::stream::read::Decoder;

use super::source::Source;
use super::{Unpack, XZ_MEMORY};
use crate::scan::secrets::text::{Part, search};

/// A field of a journal is no longer: systemd's own limit for what it reads back is 768 MiB, but a message has some KiB.
const FIELD: u64 = 1 << 20;
/// What it costs to look for a frame where there is none, in bytes: a journal can be made of nothing but starts of frames.
const TRY: u64 = 4 << 10;
/// Bytes of a journal that are looked at in one go.
const PIECE: usize = 4 << 20;
/// The start of a frame of zstd.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = b"\xfd7zXZ\0";
/// The kind of an object with a field, and that it is compressed by LZ4.
const LZ4: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 0];
/// The header of such an object, in the compact form of journals and in the other.
const HEADERS: [usize; 2] = [72, 64];

impl Unpack {
    /// Looks at the compressed fields; in an archive at the others, too, which nobody else does.
    pub(super) fn journal(&self, path: &[u8], source: &mut Source, depth: usize) -> bool {
        if depth == 0 {
            return self.fields(path, source);
        }
        if let Some(bytes) = self.whole(source) {
            self.plain(path, &mut &bytes[..]);
            self.fields(path, &mut &bytes[..]);
        }
        false
    }

    fn fields(&self, path: &[u8], input: &mut dyn Read) -> bool {
        let frame = usize::try_from(FIELD).unwrap_or(usize::MAX);
        let (mut buffer, mut base) = (Vec::new(), 0);
        loop {
            let room = (PIECE + frame).saturating_sub(buffer.len()) as u64;
            let read = (&mut *input).take(room).read_to_end(&mut buffer);
            let ended = !matches!(read, Ok(read) if read as u64 == room);
            let until = if ended { buffer.len() } else { PIECE };
            for mark in [ZSTD, XZ, LZ4] {
                let places = memchr::memmem::find_iter(&buffer, mark);
                let places = places.take_while(|at| *at < until && self.left.get() > 0);
                for at in places {
                    self.field(path, &buffer[at..], base + at as u64);
                }
            }
            if ended || self.left.get() == 0 {
                return false;
            }
            buffer.drain(..until);
            base += until as u64;
        }
    }

    /// One field, at an offset of the journal. The marks are also where no field is: what cannot be read is none.
    fn field(&self, path: &[u8], bytes: &[u8], at: u64) {
        let limited = |decoder: &mut dyn Read| {
            let mut text = Vec::new();
            let most = FIELD.min(self.left.get());
            let _ = decoder.take(most).read_to_end(&mut text);
            text
        };
        let texts = match bytes {
            [0x28, ..] => match Decoder::with_buffer(bytes) {
                Ok(decoder) => vec![limited(&mut decoder.single_frame())],
                Err(_) => return,
            },
            [0xfd, ..] => {
                let decoder = XzReader::new_mem_limit(bytes, false, XZ_MEMORY);
                vec![limited(&mut { decoder })]
            }
            _ => HEADERS
                .iter()
                .filter_map(|&header| lz4(bytes, header))
                .collect(),
        };
        for text in texts {
            self.spend((text.len() as u64).max(TRY));
            let (mut found, all) = search(path, &mut Cursor::new(text), Part::ALL);
            for one in &mut found {
                // Of the fields only the journal knows where they are.
                (one.start, one.end, one.line) = (at, at + one.end - one.start, None);
            }
            self.add(found, all, path);
        }
    }
}

/// The text of an object with a field: its length, and a block of LZ4.
fn lz4(object: &[u8], header: usize) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let bytes = object.get(at..at + 8)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (size, length) = (number(8)?, number(header)?);
    if length > usize::try_from(FIELD).ok()? {
        return None;
    }
    block(object.get(header + 8..size)?, length)
}

/// A block of LZ4: literal bytes and copies of earlier ones, in turn.
fn block(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(length);
    while let Some((&token, rest)) = packed.split_first() {
        packed = rest;
        let literals = long(usize::from(token >> 4), &mut packed)?;
        let (copied, rest) = packed.split_at_checked(literals)?;
        text.extend(copied);
        packed = rest;
        if packed.is_empty() {
            break;
        }
        let (&[low, high], rest) = packed.split_first_chunk()?;
        packed = rest;
        let back = usize::from(u16::from_le_bytes([low, high]));
        let count = long(usize::from(token & 15), &mut packed)? + 4;
        if back == 0 || back > text.len() || text.len() + count > length {
            return None;
        }
        for _ in 0..count {
            text.push(text[text.len() - back]);
        }
    }
    (text.len() == length).then_some(text)
}

/// A length of four bits that goes on in the bytes that follow.
fn long(short: usize, packed: &mut &[u8]) -> Option<usize> {
    let mut length = short;
    let mut more = short == 15;
    while more {
        let (&byte, rest) = packed.split_first()?;
        *packed = rest;
        length += usize::from(byte);
        more = byte == 255;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_lz4_is_unpacked_and_a_damaged_one_is_not() {
        // Four literals, a copy of nine from four back, one literal.
        let packed = [0x45, b'a', b'b', b'c', b'd', 4, 0, 0x10, b'!'];
        assert_eq!(block(&packed, 14).unwrap(), b"abcdabcdabcda!");
        for (packed, length) in [
            (&packed[..], 13),
            (&packed[..6], 14),
            (&[0x40, b'a'], 4),
            (&[0x10, b'a', 2, 0], 5),
            (&[0xf0, 255], 300),
        ] {
            assert_eq!(block(packed, length), None, "{packed:?}");
        }
    }
}
