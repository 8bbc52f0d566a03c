//! The orphan file: a list of open inodes without a name, which many processors can change at once.

use super::super::fields::Fields;
use super::Builder;
use super::checksum::crc32c;
use super::inode::Inode;
use crate::disk::read::ext4::layout::inode_flags;
use crate::disk::write::WriteError;

/// Blocks of the file: the number that mke2fs uses for a small file system.
const BLOCKS: u64 = 32;
/// Magic number of the tail of its blocks.
const MAGIC: u32 = 0x0b10_ca04;

impl Builder<'_> {
    /// Writes an empty orphan file, if the base has one.
    pub(super) fn orphan_file(&mut self) -> Result<(), WriteError> {
        let Some(number) = self.totals.orphan_inode else {
            return Ok(());
        };
        let (extents, map, blocks) = self.map(number, [(0, BLOCKS)])?;
        for extent in extents {
            for block in extent.physical..extent.physical + u64::from(extent.length) {
                let bytes = self.orphan_block(number, block);
                self.put_block(block, bytes);
            }
        }
        let inode = Inode {
            mode: 0o100_600,
            size: self.offset(BLOCKS),
            links: 1,
            sectors: self.sectors(blocks),
            flags: inode_flags::EXTENTS,

            time: self.format.now(),
            map,
            ..Inode::default()
        };
        self.put_inode(number, &inode);
        Ok(())
    }

    fn orphan_block(&self, number: u32, block: u64) -> Vec<u8> {
        let tail = self.format.block_size - 8;
        let mut bytes = Fields::new(self.format.block_size);
        bytes.put32(tail, MAGIC);
        if let Some(seed) = self.seed(number) {
            let seed = crc32c(seed, &block.to_le_bytes());
            let checksum = crc32c(seed, &bytes.bytes()[..tail]);
            bytes.put32(tail + 4, checksum);
        }
        bytes.into_bytes()
    }
}
