//! Directory entries, with the long names before them.

use std::collections::HashSet;

use super::super::fields::Fields;
use super::super::{DirectoryEntry, FileFlags, FileType, Inode, Metadata, ReadError, Time};
use super::damaged;

pub(super) const ENTRY: usize = 32;

/// Offsets of fields in a short entry.
mod field {
    pub const NAME: usize = 0;
    pub const EXTENSION: usize = 8;
    pub const ATTRIBUTES: usize = 11;
    pub const CASE: usize = 12;
    pub const CREATED_HUNDREDTHS: usize = 13;
    pub const CREATED_TIME: usize = 14;
    pub const CREATED_DATE: usize = 16;
    pub const ACCESSED_DATE: usize = 18;
    pub const CLUSTER_HIGH: usize = 20;
    pub const MODIFIED_TIME: usize = 22;
    pub const MODIFIED_DATE: usize = 24;
    pub const CLUSTER: usize = 26;
    pub const SIZE: usize = 28;
    /// In an entry of a long name: the checksum of the short one.
    pub const LONG_CHECKSUM: usize = 13;
}

// Bits of `ATTRIBUTES`.
const READ_ONLY: u8 = 0x01;
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// Attributes of an entry of a long name.
const LONG: u8 = 0x0f;
/// First byte of a deleted entry.
const DELETED: u8 = 0xe5;
/// Bits of `CASE`: name or extension are in lower case.
const LOWER_NAME: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;
/// 255 units with 13 in each entry.
const MAX_LONG_ENTRIES: u8 = 20;

/// A short entry in use.
pub(super) struct ShortEntry([u8; ENTRY]);

impl ShortEntry {
    /// Parses the entry of a file or a directory. `None` for a volume label, or an entry that is not in use.
    pub fn parse(bytes: [u8; ENTRY]) -> Option<Self> {
        let in_use = !matches!(bytes[0], 0 | DELETED);
        (in_use && bytes[field::ATTRIBUTES] & VOLUME == 0).then_some(Self(bytes))
    }

    /// Returns an entry for the root, which has none on the disk.
    pub fn root() -> Self {
        let mut bytes = [0; ENTRY];
        bytes[field::ATTRIBUTES] = DIRECTORY;
        Self(bytes)
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }

    pub fn kind(&self) -> FileType {
        if self.fields().u8(field::ATTRIBUTES) & DIRECTORY == 0 {
            FileType::File
        } else {
            FileType::Directory
        }
    }

    pub fn size(&self) -> u64 {
        if self.kind() == FileType::File {
            self.fields().le32(field::SIZE).into()
        } else {
            0
        }
    }

    /// Returns the number of the first cluster. On FAT12 and FAT16 the high half has another meaning, and is zero in practice.
    pub fn first_cluster(&self) -> u32 {
        let fields = self.fields();
        u32::from(fields.le16(field::CLUSTER)) | u32::from(fields.le16(field::CLUSTER_HIGH)) << 16
    }

    /// Returns the metadata that Linux shows with the default mount options: root owns everything.
    pub fn metadata(&self) -> Metadata {
        let fields = self.fields();
        let mtime = time(
            fields.le16(field::MODIFIED_DATE),
            fields.le16(field::MODIFIED_TIME),
            0,
        );
        let created = fields.le16(field::CREATED_DATE);
        Metadata {
            kind: self.kind(),
            mode: if fields.u8(field::ATTRIBUTES) & READ_ONLY == 0 {
                0o755
            } else {
                0o555
            },
            uid: 0,
            gid: 0,
            size: self.size(),
            links: 1,
            atime: time(fields.le16(field::ACCESSED_DATE), 0, 0),
            mtime,
            ctime: mtime,
            crtime: (created != 0).then(|| {
                time(
                    created,
                    fields.le16(field::CREATED_TIME),
                    fields.u8(field::CREATED_HUNDREDTHS),
                )
            }),
            rdev: None,
            flags: FileFlags::default(),
            project: 0,
        }
    }

    /// Returns the name of eight and three letters.
    fn short_name(&self) -> String {
        let case = self.fields().u8(field::CASE);
        let part = |bytes: &[u8], lower: u8| -> String {
            let end = bytes.iter().rposition(|byte| *byte != b' ');
            let mut bytes = bytes
                .iter()
                .take(end.map_or(0, |last| last + 1))
                .copied()
                .collect::<Vec<_>>();
            if case & lower != 0 {
                bytes.make_ascii_lowercase();
            }
            bytes.into_iter().map(char::from).collect()
        };
        let mut base = self.fields().array::<8>(field::NAME);
        // The first byte of deleted entries is a letter in some languages.
        if base[0] == 0x05 {
            base[0] = DELETED;
        }
        let base = part(&base, LOWER_NAME);
        let extension = part(self.fields().bytes(field::EXTENSION, 3), LOWER_EXTENSION);
        if extension.is_empty() {
            base
        } else {
            format!("{base}.{extension}")
        }
    }

    /// Returns the checksum of the short name, which the entries of its long name contain.
    fn checksum(&self) -> u8 {
        self.fields()
            .bytes(field::NAME, 11)
            .iter()
            .fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
    }
}

/// A long name, whose entries come in reverse order.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    /// Number of the entry that came last; after entry 1 the name is complete.
    number: u8,
    checksum: u8,
}

impl LongName {
    fn push(&mut self, entry: Fields) {
        let order = entry.u8(0);
        let number = order & 0x3f;
        let checksum = entry.u8(field::LONG_CHECKSUM);
        if order & 0x40 != 0 && (1..=MAX_LONG_ENTRIES).contains(&number) {
            self.units.clear();
            self.checksum = checksum;
        } else if self.number != number.wrapping_add(1) || self.checksum != checksum {
            *self = Self::default();
            return;
        }
        self.number = number;
        let offsets = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        let units: Vec<_> = offsets.map(|at| entry.le16(at)).collect();
        self.units.splice(0..0, units);
    }

    /// Returns the name, if it is complete and belongs to this entry.
    fn of(&self, entry: &ShortEntry) -> Option<String> {
        if self.number != 1 || self.checksum != entry.checksum() {
            return None;
        }
        let end = self.units.iter().position(|unit| *unit == 0);
        Some(String::from_utf16_lossy(
            self.units.get(..end.unwrap_or(self.units.len()))?,
        ))
    }
}

/// Returns the entries of a directory, given in parts with their offsets.
pub(super) fn list(
    parts: &[(u64, Vec<u8>)],
    directory: Inode,
) -> Result<Vec<DirectoryEntry>, ReadError> {
    let mut found = Vec::new();
    let mut long = LongName::default();
    let entries = parts
        .iter()
        .flat_map(|(offset, bytes)| (*offset..).step_by(ENTRY).zip(bytes.chunks_exact(ENTRY)));
    for (offset, bytes) in entries {
        let fields = Fields(bytes);
        if fields.u8(0) == 0 {
            break;
        }
        if fields.u8(field::ATTRIBUTES) & 0x3f == LONG && fields.u8(0) != DELETED {
            long.push(fields);
            continue;
        }
        let long = std::mem::take(&mut long);
        let Some(entry) = ShortEntry::parse(fields.array(0)) else {
            continue;
        };
        let name = long.of(&entry).unwrap_or_else(|| entry.short_name());
        if matches!(name.as_str(), "." | "..") {
            continue;
        }
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(damaged(format!(
                "directory {} contains the invalid name {name:?}",
                directory.0
            )));
        }
        found.push(DirectoryEntry {
            name: name.into_bytes().into(),
            inode: Inode(offset / ENTRY as u64),
            kind: Some(entry.kind()),
        });
    }
    // Linux and firmware ignore the case of names.
    let mut folded = HashSet::new();
    for entry in &found {
        let name = String::from_utf8_lossy(&entry.name);
        if !folded.insert(name.to_lowercase()) {
            return Err(damaged(format!(
                "directory {} contains {name:?} twice",
                directory.0
            )));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Converts a DOS time, which has no time zone, as UTC. Fields out of range overflow into the next one.
fn time(date: u16, time: u16, hundredths: u8) -> Time {
    if date == 0 {
        return Time::default();
    }
    let (year, month, day) = (
        1980 + i64::from(date >> 9),
        i64::from(date >> 5 & 0xf),
        i64::from(date & 0x1f),
    );
    // Days since 1970 of a date in the Gregorian calendar, the year starting in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let era_day = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400;
    let days = era_day + (153 * ((month + 9) % 12) + 2) / 5 + day.max(1) - 1 - 719_468;
    let (hours, minutes, seconds) = (
        i64::from(time >> 11),
        i64::from(time >> 5 & 0x3f),
        i64::from(time & 0x1f) * 2,
    );
    Time {
        seconds: days * 86_400
            + hours * 3600
            + minutes * 60
            + seconds
            + i64::from(hundredths / 100),
        nanoseconds: u32::from(hundredths % 100) * 10_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (date, clock, seconds) in [
            ((1980, 1, 1), (0, 0, 0), 315_532_800),
            ((2000, 2, 29), (23, 59, 58), 951_868_798),
            ((2024, 3, 1), (12, 30, 0), 1_709_296_200),
            ((2107, 12, 31), (23, 59, 58), 4_354_819_198),
        ] {
            let (year, month, day): (u16, u16, u16) = date;
            let (hour, minute, second): (u16, u16, u16) = clock;
            let packed = (year - 1980) << 9 | month << 5 | day;
            assert_eq!(
                time(packed, hour << 11 | minute << 5 | (second / 2), 0).seconds,
                seconds,
                "{date:?}"
            );
        }
        assert_eq!(time(33, 0, 199).nanoseconds, 990_000_000);
        assert_eq!(time(0, 0, 0), Time::default());
    }
}
