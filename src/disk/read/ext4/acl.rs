//! Access control lists, which ext4 stores in a shorter form than user space sees.

use super::super::ReadError;
use super::super::fields::Fields;
use super::damaged;

/// Version of the form on the disk, with ids only in entries of named users and groups.
const DISK_VERSION: u32 = 1;
/// Version of the form in the attribute `system.posix_acl_access`, with eight bytes for each entry.
const VISIBLE_VERSION: u32 = 2;
/// Tag of a user other than the owner.
const USER: u16 = 2;
/// Tag of a group other than the file's.
const GROUP: u16 = 8;
/// Bits of all six tags.
const TAGS: u16 = 0x3f;

/// Converts an ACL on the disk to the form that `getxattr` returns.
pub(super) fn from_disk(disk: &[u8]) -> Result<Vec<u8>, ReadError> {
    if disk.len() < 4 || Fields(disk).le32(0) != DISK_VERSION {
        return Err(damaged("an access control list has another version"));
    }
    let mut shown = VISIBLE_VERSION.to_le_bytes().to_vec();
    let mut rest = disk.get(4..).unwrap_or_default();
    while !rest.is_empty() {
        let entry = Fields(rest);
        let tag = entry.le16(0);
        let length = if matches!(tag, USER | GROUP) { 8 } else { 4 };
        if rest.len() < length || !tag.is_power_of_two() || tag & TAGS == 0 {
            return Err(damaged(format!(
                "an access control list has entry {tag:#x} of {} bytes",
                rest.len()
            )));
        }
        shown.extend(entry.bytes(0, 4));
        shown.extend(if length == 8 {
            entry.array(4)
        } else {
            [0xff; 4]
        });
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(shown)
}

/// Converts an ACL as `getxattr` returns it to the form on the disk. `None` if it is malformed.
pub(crate) fn to_disk(shown: &[u8]) -> Option<Vec<u8>> {
    let (version, entries) = shown.split_at_checked(4)?;
    if Fields(version).le32(0) != VISIBLE_VERSION || !entries.len().is_multiple_of(8) {
        return None;
    }
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let length = if matches!(Fields(entry).le16(0), USER | GROUP) {
            8
        } else {
            4
        };
        disk.extend(Fields(entry).bytes(0, length));
    }
    Some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_goes_both_ways() {
        let disk = [
            &[1, 0, 0, 0][..],
            &[1, 0, 6, 0],
            &[2, 0, 4, 0, 0xe8, 3, 0, 0],
            &[4, 0, 4, 0],
            &[0x10, 0, 6, 0],
            &[0x20, 0, 4, 0],
        ]
        .concat();
        let shown = from_disk(&disk).unwrap();
        assert_eq!(shown.len(), 4 + 5 * 8);
        assert_eq!(shown[4..12], [1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(shown[12..20], [2, 0, 4, 0, 0xe8, 3, 0, 0]);
        assert_eq!(to_disk(&shown).unwrap(), disk);
        for bad in [
            &disk[..3],
            &disk[..disk.len() - 2],
            &[2, 0, 0, 0],
            &[1, 0, 0, 0, 0x40, 0, 0, 0],
        ] {
            assert!(from_disk(bad).is_err(), "{bad:?}");
        }
        assert!(to_disk(&disk).is_none());
    }
}
