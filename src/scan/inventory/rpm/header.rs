//! One package's header: an index of tags, then their values. All of it comes from the guest.

pub const NAME: u32 = 1000;
pub const VERSION: u32 = 1001;
pub const RELEASE: u32 = 1002;
pub const EPOCH: u32 = 1003;
pub const LICENSE: u32 = 1014;
pub const ARCHITECTURE: u32 = 1022;
pub const SOURCE: u32 = 1044;
const DIRECTORY_INDICES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORIES: u32 = 1118;

const ENTRY: usize = 16;
/// RPM's own limit of tags in a header.
const MOST_TAGS: usize = 0xffff;

/// Types of values.
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRINGS: u32 = 8;
const TRANSLATED: u32 = 9;

/// A header whose index lies within its bytes.
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// `None` where it is no header.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let tags = usize::try_from(word(bytes, 0)?).ok()?;
        let size = usize::try_from(word(bytes, 4)?).ok()?;
        if tags > MOST_TAGS {
            return None;
        }
        let (index, data) = bytes.get(8..)?.split_at_checked(tags * ENTRY)?;
        let data = data.get(..size)?;
        Some(Self { index, data })
    }

    /// Type, count and values of a tag.
    fn find(&self, tag: u32) -> Option<(u32, usize, &'a [u8])> {
        let entry = self
            .index
            .chunks_exact(ENTRY)
            .find(|entry| word(entry, 0) == Some(tag))?;
        let offset = usize::try_from(word(entry, 8)?).ok()?;
        let count = usize::try_from(word(entry, 12)?).ok()?;
        Some((word(entry, 4)?, count, self.data.get(offset..)?))
    }

    /// The text of a tag, the first where it has several.
    pub fn text(&self, tag: u32) -> Option<&'a str> {
        let (kind, _, data) = self.find(tag)?;
        let text = [STRING, STRINGS, TRANSLATED].contains(&kind);
        strings(data).next().filter(|_| text)
    }

    /// The number of a tag.
    pub fn number(&self, tag: u32) -> Option<u32> {
        let (kind, count, data) = self.find(tag)?;
        word(data, 0).filter(|_| kind == INT32 && count > 0)
    }

    /// Hands each of its files to `take`.
    pub fn files(&self, take: &mut dyn FnMut(&str)) {
        let all = |tag| {
            let (kind, count, data) = self.find(tag).filter(|(kind, ..)| *kind == STRINGS)?;
            (kind == STRINGS).then(|| strings(data).take(count))
        };
        let (Some(directories), Some(names)) = (all(DIRECTORIES), all(BASE_NAMES)) else {
            return;
        };
        let directories: Vec<_> = directories.collect();
        let Some((INT32, _, indices)) = self.find(DIRECTORY_INDICES) else {
            return;
        };
        for (number, name) in names.enumerate() {
            let index = word(indices, number * 4).and_then(|index| usize::try_from(index).ok());
            if let Some(directory) = index.and_then(|index| directories.get(index)) {
                take(&format!("{directory}{name}"));
            }
        }
    }
}

/// Texts that each end with a zero.
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
