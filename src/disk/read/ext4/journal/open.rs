//! The journal's superblock.

use super::super::super::ReadError;
use super::super::super::fields::Fields;
use super::super::volume::Volume;
use super::super::{crc32c, too_large};
use super::features::{HAS_ASYNC_COMMIT, HAS_FAST_COMMIT, HAS_OLD_CHECKSUM, KNOWN};
use super::{Journal, MAGIC, bad, unsupported};
use crate::disk::read::ext4::extents::Piece;

const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
/// Blocks for fast commits if the journal does not say how many.
const FAST_COMMIT_BLOCKS: u32 = 256;
/// 4 GiB with blocks of 4 KiB, 48 MiB in memory; mke2fs makes at most 1 GiB.
const MOST_BLOCKS: u32 = 1 << 20;

impl<'a> Journal<'a> {
    pub(super) fn open(volume: &'a Volume, pieces: Vec<Piece>) -> Result<Self, ReadError> {
        let mut journal = Self {
            volume,
            pieces,
            first: 0,
            end: 0,
            start: 0,
            sequence: 0,
            features: 0,
            seed: 0,
        };
        let bytes = journal.block(0)?;
        let fields = Fields(&bytes);
        let kind = fields.be32(4);
        if fields.be32(0) != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(bad("has no superblock"));
        }
        if fields.be32(0xc) != volume.superblock.block_size {
            return Err(bad("has blocks of another size"));
        }
        if kind == SUPERBLOCK_V2 {
            journal.features = fields.be32(0x28);
        }
        let length = fields.be32(0x10);
        let fast = match (journal.features & HAS_FAST_COMMIT, fields.be32(0x54)) {
            (0, _) => 0,
            (_, 0) => FAST_COMMIT_BLOCKS,
            (_, blocks) => blocks,
        };
        journal.first = fields.be32(0x14);
        journal.sequence = fields.be32(0x18);
        journal.start = fields.be32(0x1c);
        journal.end = length.saturating_sub(fast);
        journal.seed = crc32c(!0, fields.bytes(0x30, 16));
        if length > MOST_BLOCKS {
            return Err(too_large(format!("its journal has {length} blocks")));
        }
        journal.check(&bytes)?;
        Ok(journal)
    }

    fn check(&self, superblock: &[u8]) -> Result<(), ReadError> {
        if self.features & HAS_ASYNC_COMMIT != 0 {
            return Err(unsupported(
                "a journal with asynchronous commits that has to be replayed",
            ));
        }
        if self.features & !KNOWN != 0 {
            return Err(unsupported(format!(
                "a journal with unknown features ({:#x})",
                self.features & !KNOWN
            )));
        }
        let fields = Fields(superblock);
        if fields.be32(0x24) & HAS_OLD_CHECKSUM != 0 {
            return Err(unsupported(
                "a journal with checksums of the first kind that has to be replayed",
            ));
        }
        let crc32c_is_used = fields.u8(0x50) == 4;
        if self.has_checksums() && !crc32c_is_used {
            return Err(unsupported("a journal with unknown checksums"));
        }
        let covered = [fields.bytes(0, 0xfc), &[0; 4], fields.bytes(0x100, 0x300)].concat();
        if self.has_checksums() && self.volume.verify() && crc32c(!0, &covered) != fields.be32(0xfc)
        {
            return Err(bad("has a superblock with a wrong checksum"));
        }
        let log = self.first..self.end;
        if self.first == 0 || log.is_empty() || (self.start != 0 && !log.contains(&self.start)) {
            return Err(bad("is wrong about where it starts"));
        }
        Ok(())
    }
}
