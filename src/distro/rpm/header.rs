//! RPM package header: an index of tags, then their values. All of it comes from the guest.

pub const NAME: u32 = 1000;
pub const VERSION: u32 = 1001;
pub const RELEASE: u32 = 1002;
pub const EPOCH: u32 = 1003;
pub const LICENSE: u32 = 1014;
pub const ARCHITECTURE: u32 = 1022;
pub const SOURCE: u32 = 1044;
pub const BEFORE_INSTALL: u32 = 1023;
pub const AFTER_INSTALL: u32 = 1024;
pub const BEFORE_REMOVAL: u32 = 1025;
pub const AFTER_REMOVAL: u32 = 1026;
pub const FILE_STATES: u32 = 1029;
pub const FILE_MODES: u32 = 1030;
pub const FILE_DIGESTS: u32 = 1035;
pub const FILE_FLAGS: u32 = 1037;
pub const PROVIDES: u32 = 1047;
pub const REQUIRES: u32 = 1049;
pub const DIRECTORY_INDICES: u32 = 1116;
pub const BASE_NAMES: u32 = 1117;
pub const DIRECTORIES: u32 = 1118;
pub const DIGEST_ALGORITHM: u32 = 5011;
pub const RECOMMENDS: u32 = 5046;

/// Size of an index entry.
const ENTRY: usize = 16;
/// Longest path that Linux accepts (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;
/// RPM's own limit of tags in a header.
const MAX_TAGS: usize = 0xffff;

const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRINGS: u32 = 8;
const TRANSLATED: u32 = 9;

/// A file of a package.
pub struct PackageFile<'a> {
    pub path: String,
    /// Hexadecimal digest; empty unless it is a regular file.
    pub digest: &'a str,
    pub flags: u32,
    /// Zero for an installed file.
    pub state: u8,
}

/// A header with a valid index.
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Parses a header; `None` if it is invalid.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let tags = usize::try_from(word(bytes, 0)?).ok()?;
        let size = usize::try_from(word(bytes, 4)?).ok()?;
        if tags > MAX_TAGS {
            return None;
        }
        let (index, data) = bytes.get(8..)?.split_at_checked(tags * ENTRY)?;
        let data = data.get(..size)?;
        Some(Self { index, data })
    }

    /// Returns type, count and values of a tag.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self
            .index
            .chunks_exact(ENTRY)
            .find(|entry| word(entry, 0) == Some(tag))?;
        let offset = usize::try_from(word(entry, 8)?).ok()?;
        let count = usize::try_from(word(entry, 12)?).ok()?;
        Some((word(entry, 4)?, count, self.data.get(offset..)?))
    }

    /// Returns the first text of a tag.
    pub fn text(&self, tag: u32) -> Option<&'a str> {
        let (kind, _, data) = self.find(tag)?;
        let text = [STRING, STRINGS, TRANSLATED].contains(&kind);
        strings(data).next().filter(|_| text)
    }

    pub fn number(&self, tag: u32) -> Option<u32> {
        let (kind, count, data) = self.find(tag)?;
        word(data, 0).filter(|_| kind == INT32 && count > 0)
    }

    pub fn texts(&self, tag: u32) -> impl Iterator<Item = &'a str> {
        let found = self.find(tag).filter(|(kind, ..)| *kind == STRINGS);
        let (count, data) = found.map_or((0, &[][..]), |(_, count, data)| (count, data));
        strings(data).take(count)
    }

    /// Returns the stored values of a tag.
    pub fn bytes(&self, tag: u32) -> Option<&'a [u8]> {
        let (kind, count, data) = self.find(tag)?;
        let each = match kind {
            CHAR | INT8 => 1,
            INT16 => 2,
            INT32 => 4,
            STRING | STRINGS | TRANSLATED => {
                let size: usize = strings(data).take(count).map(|text| text.len() + 1).sum();
                return data.get(..size);
            }
            _ => return None,
        };
        data.get(..count.checked_mul(each)?)
    }

    /// Passes the path of every file to `take`.
    pub fn files(&self, take: &mut dyn FnMut(&str)) {
        self.package_files(&mut |entry| take(&entry.path));
    }

    /// Passes every file to `take`.
    pub fn package_files(&self, take: &mut dyn FnMut(PackageFile<'a>)) {
        let directories: Vec<_> = self.texts(DIRECTORIES).collect();
        let indices = self.bytes(DIRECTORY_INDICES).unwrap_or_default();
        let flags = self.bytes(FILE_FLAGS).unwrap_or_default();
        let states = self.bytes(FILE_STATES).unwrap_or_default();
        let mut digests = self.texts(FILE_DIGESTS);
        for (number, name) in self.texts(BASE_NAMES).enumerate() {
            let digest = digests.next().unwrap_or_default();
            let index = word(indices, number * 4).and_then(|index| usize::try_from(index).ok());
            let directory = index.and_then(|index| directories.get(index));
            let fits = |directory: &&&str| directory.len() + name.len() <= MAX_PATH_BYTES;
            if let Some(directory) = directory.filter(fits) {
                take(PackageFile {
                    path: format!("{directory}{name}"),
                    digest,
                    flags: word(flags, number * 4).unwrap_or_default(),
                    state: states.get(number).copied().unwrap_or_default(),
                });
            }
        }
    }
}

fn strings(data: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let end = rest.iter().position(|&byte| byte == 0)?;
        let text = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        rest = &rest[end + 1..];
        Some(text)
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
