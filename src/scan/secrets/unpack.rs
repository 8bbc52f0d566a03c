//! Searches files that hide their text: compressed files, archives, databases, journals and UTF-16, also nested.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use zstd::stream::read::Decoder;

use super::rule::innermost;
use super::text::{Located, MAX_SECRETS, Window, search};

mod archive;
mod hidden;
mod journal;
mod rows;

use crate::scan::lookahead::Lookahead;
pub(super) use hidden::Hidden;

/// Maximum number of bytes unpacked from one file: more than any log has, less than a decompression bomb.
pub(super) const MAX_UNPACKED_BYTES: u64 = 256 << 20;
/// Maximum number of bytes unpacked from all files together: a disk full of bombs would take days.
pub(super) const MAX_TOTAL_UNPACKED_BYTES: u64 = 4 << 30;
/// Maximum nesting: a compressed archive in a compressed archive, and one more.
const MAX_DEPTH: usize = 6;
/// Maximum size of what has to be in memory as a whole: databases, and journals within archives.
const MAX_IN_MEMORY_BYTES: u64 = 64 << 20;
/// Memory for the dictionary of `xz`: as much as its highest level needs. A header could claim 4 GiB.
const XZ_MEMORY_KIB: u32 = 80 << 10;

/// A reason why a file was not searched completely.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stop {
    Damaged,
    /// It unpacks to more than this number of bytes.
    TooLarge(u64),
    /// Archives are nested more than [`MAX_DEPTH`] levels deep.
    TooDeep,
    /// It has [`MAX_SECRETS`] places that look like secrets.
    TooMany,
    Encrypted,
    /// The compression method is not supported.
    Unknown(&'static str),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str(
                "its compressed data is damaged or truncated, and nothing after that was searched",
            ),
            Self::TooLarge(most) => {
                write!(
                    f,
                    "only its first {} MiB of unpacked data were searched",
                    most >> 20
                )
            }
            Self::TooDeep => write!(
                f,
                "it has archives nested more than {MAX_DEPTH} levels deep"
            ),
            Self::TooMany => write!(
                f,
                "the search stopped after {MAX_SECRETS} places that look like secrets"
            ),
            Self::Encrypted => f.write_str("it is encrypted"),
            Self::Unknown(kind) => write!(f, "it has {kind} data, which was not unpacked"),
        }
    }
}

/// State of the search of one file.
pub(super) struct Unpack {
    /// Maximum number of bytes to unpack.
    most: u64,
    left: Cell<u64>,
    found: RefCell<Vec<Located>>,
    stops: RefCell<BTreeSet<Stop>>,
}

/// Result of the search of one file.
pub(super) struct Unpacked {
    pub(super) found: Vec<Located>,
    /// The reasons why the search is incomplete.
    pub(super) stops: BTreeSet<Stop>,
    /// Number of bytes that were unpacked.
    pub(super) bytes: u64,
}

impl Unpack {
    /// Unpacks a file, and searches at most `most` bytes of what it contains.
    pub(super) fn search(path: &[u8], input: &mut dyn Read, most: u64) -> Unpacked {
        let unpack = Self {
            most,
            left: Cell::new(most),
            found: RefCell::default(),
            stops: RefCell::default(),
        };
        unpack.search_stream(path, input, 0);
        Unpacked {
            found: unpack.found.into_inner(),
            stops: unpack.stops.into_inner(),
            bytes: most - unpack.left.get(),
        }
    }

    fn stop(&self, reason: Stop) {
        self.stops.borrow_mut().insert(reason);
    }

    /// Counts bytes against the limit.
    fn spend(&self, bytes: u64) {
        self.left.set(self.left.get().saturating_sub(bytes));
        if self.left.get() == 0 {
            self.stop(Stop::TooLarge(self.most));
        }
    }

    /// Counts the bytes that a decoder returns against the limit.
    fn counted<'a>(&'a self, input: impl Read + 'a) -> Counted<'a> {
        Counted {
            unpack: self,
            input: Some(Box::new(input)),
        }
    }

    /// Searches a stream of any format. Several compressed parts may follow each other, as in an initramfs.
    fn search_stream(&self, path: &[u8], input: &mut dyn Read, depth: usize) {
        if depth > MAX_DEPTH {
            return self.stop(Stop::TooDeep);
        }
        let mut source = Lookahead::new(input);
        loop {
            let hidden = Hidden::detect(source.head());
            let more = match hidden {
                // A file that is not packed has been searched as it is.
                None if depth > 0 => self.search_plain(path, &mut source),
                None => false,
                Some(hidden) => self.search_part(hidden, path, &mut source, depth),
            };
            if !more || !source.skip_zeros() {
                return;
            }
        }
    }

    fn search_plain(&self, path: &[u8], input: &mut dyn Read) -> bool {
        let (found, complete) = search(path, input, Window::ALL);
        self.add(found, complete, path);
        false
    }

    fn add(&self, mut found: Vec<Located>, complete: bool, path: &[u8]) {
        if !complete {
            self.stop(Stop::TooMany);
        }
        let inner = innermost(path);
        if inner.len() < path.len() {
            let inside = String::from_utf8_lossy(&inner[1..]).into_owned();
            for found in &mut found {
                found.inside = Some(inside.clone());
            }
        }
        self.found.borrow_mut().extend(found);
    }

    /// Searches one part; returns whether another may follow.
    fn search_part(
        &self,
        hidden: Hidden,
        path: &[u8],
        source: &mut Lookahead,
        depth: usize,
    ) -> bool {
        match hidden {
            Hidden::Gzip => self.search_decoded(path, GzDecoder::new(&mut *source), depth),
            Hidden::Zstd => match Decoder::with_buffer(&mut *source) {
                Ok(decoder) => self.search_decoded(path, decoder.single_frame(), depth),
                Err(_) => self.damaged(),
            },
            Hidden::Xz => {
                let decoder = XzReader::new_mem_limit(&mut *source, true, XZ_MEMORY_KIB);
                self.search_decoded(path, decoder, depth);
                false
            }
            Hidden::Utf16 { low_first } => {
                self.search_plain(path, &mut hidden::Narrow::new(source, low_first))
            }
            Hidden::Tar => self.search_tar(path, source, depth),
            Hidden::Zip => self.search_zip(path, source, depth),
            Hidden::Cpio => self.search_cpio(path, source, depth),
            Hidden::Journal => self.search_journal(path, source, depth),
            Hidden::Sqlite => self.search_rows(path, source, depth),
            Hidden::Unknown(kind) => {
                self.stop(Stop::Unknown(kind));
                false
            }
        }
    }

    /// Searches the output of a decoder, and reads it to its end.
    fn search_decoded(&self, path: &[u8], decoder: impl Read, depth: usize) -> bool {
        let mut counted = self.counted(decoder);
        self.search_stream(path, &mut counted, depth + 1);
        // The next part begins where the decoder has read all of this one.
        io::copy(&mut counted, &mut io::sink()).is_ok() && self.left.get() > 0
    }

    fn damaged(&self) -> bool {
        self.stop(Stop::Damaged);
        false
    }

    /// Reads the rest of an input into memory, unless it is too large.
    fn read_rest(&self, source: &mut Lookahead) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = source.take(MAX_IN_MEMORY_BYTES + 1).read_to_end(&mut bytes);
        if bytes.len() as u64 > MAX_IN_MEMORY_BYTES {
            self.stop(Stop::TooLarge(MAX_IN_MEMORY_BYTES));
            return None;
        }
        read.ok().map(|_| bytes)
    }
}

/// A decoder whose output is counted and limited, and whose failure is recorded.
struct Counted<'a> {
    unpack: &'a Unpack,
    /// `None` after a failure: some decoders loop forever when they are called again.
    input: Option<Box<dyn Read + 'a>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.unpack.left.get();
        if left == 0 {
            self.unpack.stop(Stop::TooLarge(self.unpack.most));
            return Ok(0);
        }
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(input) = &mut self.input else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match input.read(&mut buffer[..most]) {
            Ok(read) => {
                self.unpack.left.set(left - read as u64);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.unpack.stop(Stop::Damaged);
                self.input = None;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
