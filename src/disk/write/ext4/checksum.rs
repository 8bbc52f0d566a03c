//! The checksums of ext4 metadata.

pub(super) use crate::disk::read::ext4::{crc16, crc32c};
use crate::disk::write::fields::low16;

/// Which metadata carry checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checksums {
    /// None do (ext4 before 2.6.24, and `-O ^metadata_csum,^uninit_bg`).
    None,
    /// Group descriptors alone, by CRC-16 (`uninit_bg`).
    Groups {
        /// CRC of the UUID.
        seed: u16,
    },
    /// Everything (`metadata_csum`).
    All {
        /// CRC of the UUID that the file system was made with.
        seed: u32,
    },
}

impl Checksums {
    /// The seed of what carries CRC-32C, if anything does.
    pub(super) fn seed(self) -> Option<u32> {
        match self {
            Self::All { seed } => Some(seed),
            Self::None | Self::Groups { .. } => None,
        }
    }

    /// The seed of everything that belongs to one inode.
    pub(super) fn inode_seed(self, number: u32, generation: u32) -> Option<u32> {
        let seed = crc32c(self.seed()?, &number.to_le_bytes());
        Some(crc32c(seed, &generation.to_le_bytes()))
    }

    /// The checksum of a group's descriptor, in which the checksum's field is zero.
    pub(super) fn of_descriptor(self, group: u32, descriptor: &[u8]) -> u16 {
        /// Where the field is.
        const FIELD: usize = 0x1e;
        let number = group.to_le_bytes();
        match self {
            Self::None => 0,
            Self::All { seed } => low16(crc32c(crc32c(seed, &number), descriptor).into()),
            // Here the field is left out instead.
            Self::Groups { seed } => {
                let crc = crc16(crc16(seed, &number), &descriptor[..FIELD]);
                crc16(crc, &descriptor[FIELD + 2..])
            }
        }
    }
}
