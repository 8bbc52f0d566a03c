//! Inodes as bytes.

use super::checksum::{Checksums, crc32c};
use crate::disk::write::fields::{Fields, high32, low16, low32};

/// A time: seconds since 1970 and nanoseconds.
pub(super) type Time = (i64, u32);

/// What an inode says.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u16,
    /// Blocks of 512 bytes.
    pub(super) sectors: u64,
    pub(super) flags: u32,
    /// All four times: only that of the last change of the content has a meaning that outlives the build.
    pub(super) time: Time,
    /// `i_block`.
    pub(super) map: Vec<u8>,
    /// Block of extended attributes.
    pub(super) attributes_block: u64,
    /// Extended attributes in the inode.
    pub(super) attributes: Option<Vec<u8>>,
    /// For the inode of a large attribute's value: the hash of the value, which is kept in place of the access time.
    pub(super) value_hash: Option<u32>,
}

/// Bytes of the first version of inodes; everything behind them is "extra".
const OLD_SIZE: usize = 128;
/// Extra bytes that are written: up to the project id, as mke2fs has it.
pub(super) const EXTRA: usize = 32;

/// Bytes for extended attributes in an inode.
pub(super) fn attribute_room(inode_size: usize) -> usize {
    inode_size.saturating_sub(OLD_SIZE + EXTRA)
}

/// Seconds that an inode can hold, with or without the two bits beyond 32.
pub(super) fn holds(inode_size: usize, seconds: i64) -> bool {
    let bits = if inode_size > OLD_SIZE { 34 } else { 32 };
    (-(1 << 31)..(1 << bits) - (1 << 31)).contains(&seconds)
}

impl Inode {
    /// The bytes of inode `number`.
    pub(super) fn bytes(&self, number: u32, size: usize, checksums: Checksums) -> Vec<u8> {
        let mut bytes = Fields::new(size);
        bytes.put16(0, self.mode);
        bytes.put16(2, low16(self.uid.into()));
        bytes.put32(4, low32(self.size));
        bytes.put16(0x18, low16(self.gid.into()));
        bytes.put16(0x1a, self.links);
        bytes.put32(0x1c, low32(self.sectors));
        bytes.put32(0x20, self.flags);
        bytes.put(0x28, &self.map);
        bytes.put32(0x68, low32(self.attributes_block));
        bytes.put32(0x6c, high32(self.size));
        bytes.put16(0x74, low16(high32(self.sectors).into()));
        bytes.put16(0x76, low16(high32(self.attributes_block).into()));
        bytes.put16(0x78, low16((self.uid >> 16).into()));
        bytes.put16(0x7a, low16((self.gid >> 16).into()));
        match self.value_hash {
            // One user of the value, counted where the version is.
            Some(hash) => {
                bytes.put32(8, hash);
                bytes.put32(0x24, 1);
                if size > OLD_SIZE {
                    bytes.put16(0x80, low16(EXTRA as u64));
                }
            }
            None => self.put_times(&mut bytes, size),
        }
        if let Some(attributes) = &self.attributes {
            bytes.put(OLD_SIZE + EXTRA, attributes);
        }
        seal(&mut bytes, number, checksums);
        bytes.into_bytes()
    }

    fn put_times(&self, bytes: &mut Fields, size: usize) {
        let (seconds, nanoseconds) = self.time;
        // Checked by `holds` when the tree comes in.
        let low = low32(seconds.cast_unsigned());
        for at in [8, 0xc, 0x10] {
            bytes.put32(at, low);
        }
        if size <= OLD_SIZE {
            return;
        }
        let beyond = low32(((seconds - i64::from(low.cast_signed())) >> 32).cast_unsigned()) & 3;
        for at in [0x84, 0x88, 0x8c, 0x94] {
            bytes.put32(at, nanoseconds << 2 | beyond);
        }
        bytes.put16(0x80, low16(EXTRA as u64));
        bytes.put32(0x90, low);
    }
}

/// Puts the checksum into an inode that has none yet.
fn seal(bytes: &mut Fields, number: u32, checksums: Checksums) {
    // Generations tell apart files that had a number one after another: here each has had one only.
    let Some(seed) = checksums.inode_seed(number, 0) else {
        return;
    };
    let checksum = crc32c(seed, bytes.bytes());
    bytes.put16(0x7c, low16(checksum.into()));
    if bytes.bytes().len() > OLD_SIZE && bytes.bytes()[0x80] != 0 {
        bytes.put16(0x82, low16((checksum >> 16).into()));
    }
}

/// An inode that is in use by number but holds nothing.
pub(super) fn empty(number: u32, size: usize, checksums: Checksums) -> Vec<u8> {
    let mut bytes = Fields::new(size);
    seal(&mut bytes, number, checksums);
    bytes.into_bytes()
}

/// What `i_block` of a device holds.
pub(super) fn device(major: u32, minor: u32) -> Vec<u8> {
    let mut map = Fields::new(super::extents::ROOT);
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
            let word =
                |at: usize| u32::from_le_bytes(crate::disk::write::fields::array(&bytes, at));
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
            assert_eq!(holds(size, seconds), fits, "{seconds} in {size}");
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
