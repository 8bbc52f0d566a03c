//! Checksums of ext4 metadata.

use super::super::fields::low16;
use crate::disk::read::ext4::layout::descriptor;
pub(super) use crate::disk::read::ext4::{crc16, crc32c};

/// The checksums that a file system has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checksums {
    /// No checksums (`-O ^metadata_csum,^uninit_bg`).
    None,
    /// CRC-16 of group descriptors (`uninit_bg`).
    Groups {
        /// CRC of the UUID.
        seed: u16,
    },
    /// CRC-32C of all metadata (`metadata_csum`).
    All {
        /// CRC of the UUID that the file system was created with.
        seed: u32,
    },
}

impl Checksums {
    /// Returns the seed of CRC-32C checksums, if there are any.
    pub(super) fn seed(self) -> Option<u32> {
        match self {
            Self::All { seed } => Some(seed),
            Self::None | Self::Groups { .. } => None,
        }
    }

    /// Returns the seed of everything that belongs to one inode.
    pub(super) fn inode_seed(self, number: u32, generation: u32) -> Option<u32> {
        let seed = crc32c(self.seed()?, &number.to_le_bytes());
        Some(crc32c(seed, &generation.to_le_bytes()))
    }

    /// Returns the checksum of a group's descriptor, in which the field of the checksum is zero.
    pub(super) fn of_descriptor(self, group: u32, bytes: &[u8]) -> u16 {
        let number = group.to_le_bytes();
        match self {
            Self::None => 0,
            Self::All { seed } => low16(crc32c(crc32c(seed, &number), bytes).into()),
            // Skips the field instead.
            Self::Groups { seed } => {
                let crc = crc16(crc16(seed, &number), &bytes[..descriptor::CHECKSUM]);
                crc16(crc, &bytes[descriptor::AFTER_CHECKSUM..])
            }
        }
    }
}
