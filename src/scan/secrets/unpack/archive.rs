//! Archives, read from front to end. The paths of their files decide which rules apply.

use std::io::{self, BufRead, Read};

use flate2::bufread::DeflateDecoder;

use super::{Stop, Unpack};
use crate::scan::cpio::CpioEntry;
use crate::scan::lookahead::Lookahead;
use crate::scan::secrets::rule::ARCHIVE_SEPARATOR;

/// Size of a file's header in a zip archive, after its signature.
const ZIP_HEADER_BYTES: usize = 26;

impl Unpack {
    pub(super) fn search_tar(&self, path: &[u8], source: &mut Lookahead, depth: usize) -> bool {
        let mut archive = tar::Archive::new(source);
        let Ok(entries) = archive.entries() else {
            return self.damaged();
        };
        for entry in entries {
            let Ok(mut entry) = entry else {
                return self.damaged();
            };
            if entry.header().entry_type().is_file() {
                let name = join(path, &entry.path_bytes());
                self.search_stream(&name, &mut self.counted(&mut entry), depth + 1);
            }
            if self.left.get() == 0 {
                break;
            }
        }
        false
    }

    /// Searches a cpio archive of the newer kind, as in an initramfs; another part may follow.
    pub(super) fn search_cpio(&self, path: &[u8], source: &mut Lookahead, depth: usize) -> bool {
        while self.left.get() > 0 {
            let Some(entry) = CpioEntry::read(source) else {
                return self.damaged();
            };
            if entry.is_trailer() {
                return true;
            }
            let mut content = source.take(entry.size);
            let name = join(path, &entry.name);
            self.search_stream(&name, &mut self.counted(&mut content), depth + 1);
            if !(skip(&mut content, u64::MAX) && skip(source, entry.padding())) {
                return self.damaged();
            }
        }
        false
    }

    /// Searches a zip archive by the headers of its files; the directory at its end is not needed.
    pub(super) fn search_zip(&self, path: &[u8], source: &mut Lookahead, depth: usize) -> bool {
        while self.left.get() > 0 {
            let mut signature = [0; 4];
            if source.read_exact(&mut signature).is_err() {
                return self.damaged();
            }
            // The central directory, or a record in front of it.
            if &signature != b"PK\x03\x04" {
                return false;
            }
            let Some(entry) = ZipEntry::read(source) else {
                return self.damaged();
            };
            if !self.search_zip_entry(path, source, &entry, depth) {
                return false;
            }
        }
        false
    }

    /// Searches one file of a zip archive; returns whether the next can be found.
    fn search_zip_entry(
        &self,
        path: &[u8],
        source: &mut Lookahead,
        entry: &ZipEntry,
        depth: usize,
    ) -> bool {
        let name = join(path, &entry.name);
        if entry.flags & 1 != 0 {
            self.stop(Stop::Encrypted);
        }
        let known = entry.flags & 8 == 0 && entry.packed < u64::from(u32::MAX);
        match entry.method {
            _ if entry.flags & 1 != 0 => {}
            0 if known => {
                let mut content = source.take(entry.packed);
                self.search_stream(&name, &mut self.counted(&mut content), depth + 1);
                return skip(&mut content, u64::MAX);
            }
            8 if known => {
                let mut content = source.take(entry.packed);
                let ended = self.search_decoded(&name, DeflateDecoder::new(&mut content), depth);
                return skip(&mut content, u64::MAX) && (ended || self.left.get() > 0);
            }
            // A directory or an empty file.
            0 if source.head().starts_with(b"PK") => {
                return !source.head().starts_with(b"PK\x07\x08") || skip_descriptor(source);
            }
            8 => {
                // Only the data itself tells where it ends; its length follows.
                return self.search_decoded(&name, DeflateDecoder::new(&mut *source), depth)
                    && skip_descriptor(source);
            }
            _ => self.stop(Stop::Unknown("other zip")),
        }
        known && skip(source, entry.packed)
    }
}

/// Joins the path of an archive and that of a file in it.
fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let name = name.strip_prefix(b"/").unwrap_or(name);
    [path, ARCHIVE_SEPARATOR, name].concat()
}

/// Skips `count` bytes, or all for `u64::MAX`; returns whether they were there.
fn skip(input: &mut dyn Read, count: u64) -> bool {
    let copied = io::copy(&mut input.take(count), &mut io::sink());
    copied.is_ok_and(|copied| copied == count || count == u64::MAX)
}

struct ZipEntry {
    flags: u16,
    method: u16,
    packed: u64,
    name: Vec<u8>,
}

impl ZipEntry {
    fn read(source: &mut Lookahead) -> Option<Self> {
        let mut header = [0; ZIP_HEADER_BYTES];
        source.read_exact(&mut header).ok()?;
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let packed = u32::from_le_bytes([header[14], header[15], header[16], header[17]]);
        let mut name = Vec::new();
        let length = u64::from(short(22));
        source.take(length).read_to_end(&mut name).ok()?;
        skip(source, u64::from(short(24))).then_some(Self {
            flags: short(2),
            method: short(4),
            packed: packed.into(),
            name,
        })
    }
}

/// Skips the checksum and lengths after a file for which the header does not have them: 12 or 20 bytes, with or without
/// a signature.
fn skip_descriptor(source: &mut Lookahead) -> bool {
    let head = source.head();
    let length = [16, 24, 12, 20]
        .into_iter()
        .find(|&length| head.get(length..length + 2) == Some(b"PK"));
    length.is_some_and(|length| {
        source.consume(length);
        true
    })
}
