//! Directory entries, with the long names before them.

use super::super::fields::Fields;
use super::super::{Entry, Flags, Inode, Kind, Metadata, ReadError, Time};
use super::damaged;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;
const READ_ONLY: u8 = 0x01;
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// The attributes of a piece of a long name.
const LONG: u8 = 0x0f;
const DELETED: u8 = 0xe5;
/// The name's or the extension's letters are small ones.
const SMALL_NAME: u8 = 0x08;
const SMALL_EXTENSION: u8 = 0x10;
/// 255 units in pieces of 13.
const MOST_PIECES: u8 = 20;

/// A short entry in use.
pub(super) struct Stored([u8; ENTRY]);

impl Stored {
    /// An entry of a file or a directory; others are no such thing.
    pub fn parse(bytes: [u8; ENTRY]) -> Option<Self> {
        let used = !matches!(bytes[0], 0 | DELETED);
        (used && bytes[11] & VOLUME == 0).then_some(Self(bytes))
    }

    /// The root has none; this is what it would be.
    pub fn root() -> Self {
        let mut bytes = [0; ENTRY];
        bytes[11] = DIRECTORY;
        Self(bytes)
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }

    pub fn kind(&self) -> Kind {
        if self.fields().u8(11) & DIRECTORY == 0 {
            Kind::File
        } else {
            Kind::Directory
        }
    }

    pub fn size(&self) -> u64 {
        if self.kind() == Kind::File {
            self.fields().le32(28).into()
        } else {
            0
        }
    }

    /// The high half is something else on FAT12 and FAT16, where no number is that large: it is zero on all that are in use today.
    pub fn first_cluster(&self) -> u32 {
        u32::from(self.fields().le16(26)) | u32::from(self.fields().le16(20)) << 16
    }

    /// What Linux shows without options: everything is root's.
    pub fn metadata(&self) -> Metadata {
        let fields = self.fields();
        let mtime = time(fields.le16(24), fields.le16(22), 0);
        Metadata {
            kind: self.kind(),
            mode: if fields.u8(11) & READ_ONLY == 0 {
                0o755
            } else {
                0o555
            },
            uid: 0,
            gid: 0,
            size: self.size(),
            links: 1,
            atime: time(fields.le16(18), 0, 0),
            mtime,
            ctime: mtime,
            crtime: (fields.le16(16) != 0)
                .then(|| time(fields.le16(16), fields.le16(14), fields.u8(13))),
            rdev: None,
            flags: Flags::default(),
            project: 0,
        }
    }

    /// The name in eight letters and three.
    fn short_name(&self) -> String {
        let case = self.fields().u8(12);
        let part = |bytes: &[u8], small: bool| -> String {
            let end = bytes
                .iter()
                .rposition(|byte| *byte != b' ')
                .map_or(0, |last| last + 1);
            let letters = bytes.iter().take(end).map(|byte| {
                if small {
                    byte.to_ascii_lowercase()
                } else {
                    *byte
                }
            });
            letters.map(char::from).collect()
        };
        let mut base = self.fields().array::<8>(0);
        // The mark of deleted entries is a letter in some languages.
        if base[0] == 0x05 {
            base[0] = DELETED;
        }
        let base = part(&base, case & SMALL_NAME != 0);
        let extension = part(self.fields().bytes(8, 3), case & SMALL_EXTENSION != 0);
        if extension.is_empty() {
            base
        } else {
            format!("{base}.{extension}")
        }
    }

    /// What the pieces of a long name carry of the short one they belong to.
    fn checksum(&self) -> u8 {
        self.fields()
            .bytes(0, 11)
            .iter()
            .fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
    }
}

/// A long name, whose pieces come last one first.
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    /// The number of the piece that came last: with the first one it is whole.
    piece: u8,
    checksum: u8,
}

impl LongName {
    fn push(&mut self, entry: Fields) {
        let order = entry.u8(0);
        let piece = order & 0x3f;
        if order & 0x40 != 0 && (1..=MOST_PIECES).contains(&piece) {
            self.units.clear();
            self.checksum = entry.u8(13);
        } else if self.piece != piece.wrapping_add(1) || self.checksum != entry.u8(13) {
            *self = Self::default();
            return;
        }
        self.piece = piece;
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        let units: Vec<_> = places.map(|at| entry.le16(at)).collect();
        self.units.splice(0..0, units);
    }

    /// The name, if it is whole and belongs to this entry.
    fn of(&self, entry: &Stored) -> Option<String> {
        if self.piece != 1 || self.checksum != entry.checksum() {
            return None;
        }
        let end = self.units.iter().position(|unit| *unit == 0);
        Some(String::from_utf16_lossy(
            self.units.get(..end.unwrap_or(self.units.len()))?,
        ))
    }
}

/// The entries of a directory, given in parts with where each of them is.
pub(super) fn list(parts: &[(u64, Vec<u8>)], directory: Inode) -> Result<Vec<Entry>, ReadError> {
    let mut found = Vec::new();
    let mut long = LongName::default();
    let places = parts
        .iter()
        .flat_map(|(offset, bytes)| (*offset..).step_by(ENTRY).zip(bytes.chunks_exact(ENTRY)));
    for (offset, bytes) in places {
        let fields = Fields(bytes);
        if fields.u8(0) == 0 {
            break;
        }
        if fields.u8(11) & 0x3f == LONG && fields.u8(0) != DELETED {
            long.push(fields);
            continue;
        }
        let long = std::mem::take(&mut long);
        let Some(stored) = Stored::parse(fields.array(0)) else {
            continue;
        };
        let name = long.of(&stored).unwrap_or_else(|| stored.short_name());
        if matches!(name.as_str(), "." | "..") {
            continue;
        }
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(damaged(format!(
                "directory {} has the name {name:?}",
                directory.0
            )));
        }
        found.push(Entry {
            name: name.into_bytes().into(),
            inode: Inode(offset / ENTRY as u64),
            kind: Some(stored.kind()),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some([twice, _]) = found
        .windows(2)
        .find(|pair| matches!(pair, [a, b] if a.name == b.name))
    {
        let name = String::from_utf8_lossy(&twice.name);
        return Err(damaged(format!(
            "directory {} has {name:?} twice",
            directory.0
        )));
    }
    Ok(found)
}

/// A moment as DOS kept it; it had no time zones, so this takes it for UTC. Out of range is clamped by arithmetic, not refused.
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
