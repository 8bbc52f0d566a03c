//! Files that hide their text: compressed, archives of other files, databases, journals, UTF-16; also within each other.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use zstd::stream::read::Decoder;

use super::rule::innermost;
use super::text::{Found, Part, search};

mod archive;
mod hidden;
mod journal;
mod rows;
mod source;

pub(super) use hidden::Hidden;
use source::Source;

/// Bytes that one file is unpacked to at most: more than any log, less than a bomb.
pub(super) const MOST: u64 = 256 << 20;
/// The same for all files together: a disk of bombs would keep us for days.
pub(super) const MOST_OF_ALL: u64 = 4 << 30;
/// Archives within archives: a compressed archive in a compressed archive, and one more.
const DEEPEST: usize = 6;
/// What must be in memory as a whole to be understood: databases, and journals within archives.
const WHOLE: u64 = 64 << 20;
/// Memory for the dictionary of `xz`, in KiB: what its highest level needs. A header could claim 4 GiB.
const XZ_MEMORY: u32 = 80 << 10;

/// Why not all of a file was looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stop {
    /// Its compressed data ends where it must not, or makes no sense.
    Damaged,
    /// It unpacks to more than so many bytes.
    TooLarge(u64),
    /// Archives are within each other more than [`DEEPEST`] times.
    TooDeep,
    /// It has more places that look like secrets than are told apart.
    TooMany,
    /// It needs a password.
    Encrypted,
    /// It is compressed in a way that is not known here.
    Unknown(&'static str),
}

impl Stop {
    /// In words, for a finding.
    pub(super) fn says(&self) -> String {
        match self {
            Self::Damaged => {
                "its compressed data is damaged or cut short: what is behind that was not looked at"
                    .to_owned()
            }
            Self::TooLarge(most) => format!(
                "only its first {} MiB, unpacked, were looked at",
                most >> 20
            ),
            Self::TooDeep => format!("archives within it are more than {DEEPEST} deep"),
            Self::TooMany => {
                let most = super::text::MOST;
                format!("after {most} places that look like secrets nothing more was looked at")
            }
            Self::Encrypted => "it is encrypted, and was not opened".to_owned(),
            Self::Unknown(kind) => format!("it has {kind} data, which was not unpacked"),
        }
    }
}

/// One file that is being unpacked.
pub(super) struct Unpack {
    most: u64,
    left: Cell<u64>,
    found: RefCell<Vec<Found>>,
    stops: RefCell<BTreeSet<Stop>>,
}

/// What came of it.
pub(super) struct Unpacked {
    pub(super) found: Vec<Found>,
    /// Why that may not be all.
    pub(super) stops: BTreeSet<Stop>,
    /// What was looked at.
    pub(super) bytes: u64,
}

impl Unpack {
    /// Looks into what a file hides, at no more than `most` bytes of it.
    pub(super) fn all(path: &[u8], input: &mut dyn Read, most: u64) -> Unpacked {
        let unpack = Self {
            most,
            left: Cell::new(most),
            found: RefCell::default(),
            stops: RefCell::default(),
        };
        unpack.stream(path, input, 0);
        Unpacked {
            found: unpack.found.into_inner(),
            stops: unpack.stops.into_inner(),
            bytes: most - unpack.left.get(),
        }
    }

    fn stop(&self, why: Stop) {
        self.stops.borrow_mut().insert(why);
    }

    /// Counts what was looked at.
    fn spend(&self, bytes: u64) {
        self.left.set(self.left.get().saturating_sub(bytes));
        if self.left.get() == 0 {
            self.stop(Stop::TooLarge(self.most));
        }
    }

    /// What decoders give, counted.
    fn counted<'a>(&'a self, input: impl Read + 'a) -> Counted<'a> {
        Counted {
            unpack: self,
            input: Some(Box::new(input)),
        }
    }

    /// Looks at bytes, whatever they are: several compressed parts may follow each other, as in an initramfs.
    fn stream(&self, path: &[u8], input: &mut dyn Read, depth: usize) {
        if depth > DEEPEST {
            return self.stop(Stop::TooDeep);
        }
        let mut source = Source::new(input);
        loop {
            let hidden = Hidden::of(source.head());
            let more = match hidden {
                // What is on the disk as it is has been searched as it is.
                None if depth > 0 => self.plain(path, &mut source),
                None => false,
                Some(hidden) => self.one(hidden, path, &mut source, depth),
            };
            if !more || !source.skip_zeros() {
                return;
            }
        }
    }

    fn plain(&self, path: &[u8], input: &mut dyn Read) -> bool {
        let (found, all) = search(path, input, Part::ALL);
        self.add(found, all, path);
        false
    }

    fn add(&self, mut found: Vec<Found>, all: bool, path: &[u8]) {
        if !all {
            self.stop(Stop::TooMany);
        }
        for found in &mut found {
            let inner = innermost(path);
            if inner.len() < path.len() {
                found.inside = Some(String::from_utf8_lossy(&inner[1..]).into_owned());
            }
        }
        self.found.borrow_mut().extend(found);
    }

    /// Looks at one part; says whether another may follow.
    fn one(&self, hidden: Hidden, path: &[u8], source: &mut Source, depth: usize) -> bool {
        match hidden {
            Hidden::Gzip => self.decoded(path, GzDecoder::new(&mut *source), depth),
            Hidden::Zstd => match Decoder::with_buffer(&mut *source) {
                Ok(decoder) => self.decoded(path, decoder.single_frame(), depth),
                Err(_) => self.damaged(),
            },
            Hidden::Xz => {
                let decoder = XzReader::new_mem_limit(&mut *source, true, XZ_MEMORY);
                self.decoded(path, decoder, depth);
                false
            }
            Hidden::Utf16 { low_first } => {
                self.plain(path, &mut hidden::Narrow::new(source, low_first))
            }
            Hidden::Tar => self.tar(path, source, depth),
            Hidden::Zip => self.zip(path, source, depth),
            Hidden::Cpio => self.cpio(path, source, depth),
            Hidden::Journal => self.journal(path, source, depth),
            Hidden::Sqlite => self.rows(path, source, depth),
            Hidden::Unknown(kind) => {
                self.stop(Stop::Unknown(kind));
                false
            }
        }
    }

    /// Looks at what a decoder gives, to its end.
    fn decoded(&self, path: &[u8], decoder: impl Read, depth: usize) -> bool {
        let mut counted = self.counted(decoder);
        self.stream(path, &mut counted, depth + 1);
        // The next part begins where the decoder has read all of this one.
        io::copy(&mut counted, &mut io::sink()).is_ok() && self.left.get() > 0
    }

    fn damaged(&self) -> bool {
        self.stop(Stop::Damaged);
        false
    }

    /// All that is left of an input, where it is not too much to be had in memory.
    fn whole(&self, source: &mut Source) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = source.take(WHOLE + 1).read_to_end(&mut bytes);
        if bytes.len() as u64 > WHOLE {
            self.stop(Stop::TooLarge(WHOLE));
            return None;
        }
        read.ok().map(|_| bytes)
    }
}

/// What a decoder gives: not more than is left, and with a note where it fails.
struct Counted<'a> {
    unpack: &'a Unpack,
    /// `None` once it has failed: some decoders never come back when they are asked again.
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
