//! Compressed fields of a systemd journal: by zstd, systemd's default, or by its former defaults LZ4 and xz. Other fields
//! are stored verbatim.

use std::io::{Cursor, Read};

use lzma_rust2::XzReader;
use zstd::stream::read::Decoder;

use super::{Unpack, XZ_MEMORY_KIB};
use crate::scan::lookahead::Lookahead;
use crate::scan::secrets::text::{Window, search};

/// Maximum size of a field: systemd reads back up to 768 MiB, but a message has some KiB.
const MAX_FIELD_BYTES: u64 = 1 << 20;
/// Bytes that an attempt to unpack counts as at least: a journal may consist of nothing but starts of frames.
const ATTEMPT_COST_BYTES: u64 = 4 << 10;
/// Bytes of a journal that are searched at once.
const CHUNK_BYTES: usize = 4 << 20;
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = b"\xfd7zXZ\0";
/// Start of an object: the type of a field, and the flag for LZ4.
const LZ4: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 0];
/// Sizes of such an object's header, in compact journals and in others.
const HEADER_BYTES: [usize; 2] = [72, 64];

impl Unpack {
    /// Searches the compressed fields. The others are searched here only for a journal in an archive: on the disk they
    /// have been searched as part of the file.
    pub(super) fn search_journal(&self, path: &[u8], source: &mut Lookahead, depth: usize) -> bool {
        if depth == 0 {
            return self.search_fields(path, source);
        }
        if let Some(bytes) = self.read_rest(source) {
            self.search_plain(path, &mut &bytes[..]);
            self.search_fields(path, &mut &bytes[..]);
        }
        false
    }

    fn search_fields(&self, path: &[u8], input: &mut dyn Read) -> bool {
        let frame = usize::try_from(MAX_FIELD_BYTES).unwrap_or(usize::MAX);
        let (mut buffer, mut base) = (Vec::new(), 0);
        loop {
            let room = (CHUNK_BYTES + frame).saturating_sub(buffer.len()) as u64;
            let read = (&mut *input).take(room).read_to_end(&mut buffer);
            let ended = !matches!(read, Ok(read) if read as u64 == room);
            let until = if ended { buffer.len() } else { CHUNK_BYTES };
            for mark in [ZSTD, XZ, LZ4] {
                let places = memchr::memmem::find_iter(&buffer, mark);
                let places = places.take_while(|at| *at < until && self.left.get() > 0);
                for at in places {
                    self.search_field(path, &buffer[at..], base + at as u64);
                }
            }
            if ended || self.left.get() == 0 {
                return false;
            }
            buffer.drain(..until);
            base += until as u64;
        }
    }

    /// Searches one field, at an offset of the journal. The marks occur elsewhere, too: what cannot be unpacked is ignored.
    fn search_field(&self, path: &[u8], bytes: &[u8], at: u64) {
        let limited = |decoder: &mut dyn Read| {
            let mut text = Vec::new();
            let most = MAX_FIELD_BYTES.min(self.left.get());
            let _ = decoder.take(most).read_to_end(&mut text);
            text
        };
        let texts = match bytes {
            [0x28, ..] => match Decoder::with_buffer(bytes) {
                Ok(decoder) => vec![limited(&mut decoder.single_frame())],
                Err(_) => return,
            },
            [0xfd, ..] => {
                let decoder = XzReader::new_mem_limit(bytes, false, XZ_MEMORY_KIB);
                vec![limited(&mut { decoder })]
            }
            _ => HEADER_BYTES
                .iter()
                .filter_map(|&header| unpack_lz4_object(bytes, header))
                .collect(),
        };
        for text in texts {
            self.spend((text.len() as u64).max(ATTEMPT_COST_BYTES));
            let (mut found, complete) = search(path, &mut Cursor::new(text), Window::ALL);
            for secret in &mut found {
                // The place of the field in the journal.
                (secret.start, secret.end) = (at, at + secret.end - secret.start);
                secret.line = None;
            }
            self.add(found, complete, path);
        }
    }
}

/// Returns the text of a field's object: its length, then a block of LZ4.
fn unpack_lz4_object(object: &[u8], header: usize) -> Option<Vec<u8>> {
    let number = |at: usize| {
        let bytes = object.get(at..at + 8)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (size, length) = (number(8)?, number(header)?);
    if length > usize::try_from(MAX_FIELD_BYTES).ok()? {
        return None;
    }
    unpack_lz4(object.get(header + 8..size)?, length)
}

/// Unpacks a block of LZ4: literal bytes and copies of earlier ones, in turn.
fn unpack_lz4(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(length);
    while let Some((&token, rest)) = packed.split_first() {
        packed = rest;
        let literals = long_length(usize::from(token >> 4), &mut packed)?;
        let (copied, rest) = packed.split_at_checked(literals)?;
        text.extend(copied);
        packed = rest;
        if packed.is_empty() {
            break;
        }
        let (&[low, high], rest) = packed.split_first_chunk()?;
        packed = rest;
        let back = usize::from(u16::from_le_bytes([low, high]));
        let count = long_length(usize::from(token & 15), &mut packed)? + 4;
        if back == 0 || back > text.len() || text.len() + count > length {
            return None;
        }
        for _ in 0..count {
            text.push(text[text.len() - back]);
        }
    }
    (text.len() == length).then_some(text)
}

/// Returns a length of four bits that continues in the following bytes.
fn long_length(short: usize, packed: &mut &[u8]) -> Option<usize> {
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
        assert_eq!(unpack_lz4(&packed, 14).unwrap(), b"abcdabcdabcda!");
        for (packed, length) in [
            (&packed[..], 13),
            (&packed[..6], 14),
            (&[0x40, b'a'], 4),
            (&[0x10, b'a', 2, 0], 5),
            (&[0xf0, 255], 300),
        ] {
            assert_eq!(unpack_lz4(packed, length), None, "{packed:?}");
        }
    }
}
