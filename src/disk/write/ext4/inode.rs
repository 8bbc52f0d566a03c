//! Inodes as bytes.

use super::super::fields::{Fields, low16, low32};
use super::checksum::{Checksums, crc32c};
use crate::disk::read::ext4::layout::inode as field;

/// A time: seconds since 1970 and nanoseconds.
pub(super) type Time = (i64, u32);

/// The fields of an inode.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u16,
    /// Blocks of 512 bytes.
    pub(super) sectors: u64,
    pub(super) flags: u32,
    /// The value of all four times: only the time of the last change of the content has a meaning that outlives the build.
    pub(super) time: Time,
    pub(super) map: Vec<u8>,
    /// Block of extended attributes, or 0.
    pub(super) attributes_block: u64,
    /// Extended attributes in the inode.
    pub(super) attributes: Option<Vec<u8>>,
    /// Hash of the attribute value in this inode, stored in place of the access time.
    pub(super) value_hash: Option<u32>,
}

/// Extra bytes that are written: up to the project id, as in mke2fs.
const EXTRA: usize = 32;
/// Offset of the extended attributes in an inode.
const ATTRIBUTES: usize = field::BASE_LENGTH + EXTRA;

/// Returns the number of bytes for extended attributes in an inode.
pub(super) fn attribute_space(inode_size: usize) -> usize {
    inode_size.saturating_sub(ATTRIBUTES)
}

/// Returns whether an inode can store a time, with or without the two bits beyond 32.
pub(super) fn can_store_time(inode_size: usize, seconds: i64) -> bool {
    let bits = if inode_size > field::BASE_LENGTH {
        34
    } else {
        32
    };
    (-(1 << 31)..(1 << bits) - (1 << 31)).contains(&seconds)
}

impl Inode {
    /// Returns the bytes of inode `number`.
    pub(super) fn bytes(&self, number: u32, size: usize, checksums: Checksums) -> Vec<u8> {
        let mut bytes = Fields::new(size);
        bytes.put16(field::MODE, self.mode);
        bytes.put16_halves(field::UID, self.uid);
        bytes.put16_halves(field::GID, self.gid);
        bytes.put32_halves(field::SIZE, self.size);
        bytes.put16(field::LINKS, self.links);
        bytes.put48(field::SECTORS, self.sectors);
        bytes.put32(field::FLAGS, self.flags);
        bytes.put(field::MAP, &self.map);
        bytes.put48(field::XATTR_BLOCK, self.attributes_block);
        if size > field::BASE_LENGTH {
            bytes.put16(field::EXTRA_SIZE, low16(EXTRA as u64));
        }
        match self.value_hash {
            Some(hash) => {
                bytes.put32(field::ATIME[0], hash);
                // The value has one user.
                bytes.put32(field::VERSION, 1);
            }
            None => self.put_times(&mut bytes, size),
        }
        if let Some(attributes) = &self.attributes {
            bytes.put(ATTRIBUTES, attributes);
        }
        put_checksum(&mut bytes, number, checksums);
        bytes.into_bytes()
    }

    fn put_times(&self, bytes: &mut Fields, size: usize) {
        let (seconds, nanoseconds) = self.time;
        // `can_store_time` was checked when the files were numbered.
        let low = low32(seconds.cast_unsigned());
        let beyond = low32(((seconds - i64::from(low.cast_signed())) >> 32).cast_unsigned()) & 3;
        for [at, extra] in [field::ATIME, field::CTIME, field::MTIME, field::CRTIME] {
            // The first version of inodes ends before some of these.
            if at < size {
                bytes.put32(at, low);
            }
            if extra < size {
                bytes.put32(extra, nanoseconds << 2 | beyond);
            }
        }
    }
}

/// Sets the checksum of an inode.
fn put_checksum(bytes: &mut Fields, number: u32, checksums: Checksums) {
    // Generations distinguish successive files with the same number: here each number has one file.
    let Some(seed) = checksums.inode_seed(number, 0) else {
        return;
    };
    let checksum = crc32c(seed, bytes.bytes());
    bytes.put16(field::CHECKSUM[0], low16(checksum.into()));
    if bytes.bytes().len() > field::BASE_LENGTH && bytes.bytes()[field::EXTRA_SIZE] != 0 {
        bytes.put16(field::CHECKSUM[1], low16((checksum >> 16).into()));
    }
}

/// Returns an inode that is reserved and empty.
pub(super) fn empty(number: u32, size: usize, checksums: Checksums) -> Vec<u8> {
    let mut bytes = Fields::new(size);
    put_checksum(&mut bytes, number, checksums);
    bytes.into_bytes()
}

/// Returns the map of a device.
pub(super) fn device(major: u32, minor: u32) -> Vec<u8> {
    let mut map = Fields::new(field::MAP_LENGTH);
    if major < 256 && minor < 256 {
        map.put32(0, major << 8 | minor);
    } else {
        map.put32(4, (minor & 0xff) | major << 8 | (minor & !0xff) << 12);
    }
    map.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::read::Bytes;

    #[test]
    fn times_of_four_epochs_fit() {
        for (seconds, low, beyond) in [
            (0, 0, 0),
            (-1, u32::MAX, 0),
            (-(1 << 31), 1 << 31, 0),
            ((1 << 31) - 1, (1 << 31) - 1, 0),
            (1 << 31, 1 << 31, 1),
            (4_294_967_296, 0, 1),
            (7_258_118_400, 0xb09e_c400_u32.wrapping_add(0), 2),
        ] {
            let inode = Inode {
                time: (seconds, 5),
                ..Inode::default()
            };
            let bytes = inode.bytes(12, 256, Checksums::None);
            let word = |at: usize| Bytes(&bytes).le32(at);
            let back = i64::from(word(0x10).cast_signed()) + (i64::from(word(0x88) & 3) << 32);
            assert_eq!((back, word(0x88) >> 2), (seconds, 5));
            if seconds < 1 << 32 {
                assert_eq!((word(0x10), word(0x88) & 3), (low, beyond));
            }
        }
        for (size, seconds, fits) in [
            (256, -(1 << 31) - 1, false),
            (256, (1_i64 << 34) - (1 << 31) - 1, true),
            (256, (1_i64 << 34) - (1 << 31), false),
            (128, 1 << 31, false),
        ] {
            assert_eq!(can_store_time(size, seconds), fits, "{seconds} in {size}");
        }
    }

    #[test]
    fn large_device_numbers_take_the_second_word() {
        assert_eq!(device(8, 1)[..8], [1, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            device(259, 0x1_2345)[..8],
            [0, 0, 0, 0, 0x45, 0x03, 0x31, 0x12]
        );
    }
}
