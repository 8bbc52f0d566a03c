//! Reads the superblock of a journal.

use super::super::super::ReadError;
use super::super::super::fields::Fields;
use super::super::extents::Extent;
use super::super::layout::journal as field;
use super::super::volume::Volume;
use super::super::{crc32c, too_large};
use super::features::{HAS_ASYNC_COMMIT, HAS_FAST_COMMIT, HAS_OLD_CHECKSUM, KNOWN};
use super::{Journal, bad, unsupported};

/// The default number of blocks for fast commits.
const FAST_COMMIT_BLOCKS: u32 = 256;
/// 4 GiB with blocks of 4 KiB, 48 MiB in memory; mke2fs makes at most 1 GiB.
const MAX_BLOCKS: u32 = 1 << 20;
const CRC32C: u8 = 4;

impl<'a> Journal<'a> {
    pub(super) fn open(volume: &'a Volume, extents: Vec<Extent>) -> Result<Self, ReadError> {
        let mut journal = Self {
            volume,
            extents,
            first: 0,
            end: 0,
            start: 0,
            sequence: 0,
            features: 0,
            seed: 0,
        };
        let bytes = journal.block(0)?;
        let fields = Fields(&bytes);
        let kind = fields.be32(field::KIND);
        let is_superblock = matches!(kind, field::SUPERBLOCK_V1 | field::SUPERBLOCK_V2);
        if fields.be32(field::MAGIC) != field::MAGIC_NUMBER || !is_superblock {
            return Err(bad("has no superblock"));
        }
        if fields.be32(field::BLOCK_SIZE) != volume.superblock.block_size {
            return Err(bad("has blocks of another size"));
        }
        if kind == field::SUPERBLOCK_V2 {
            journal.features = fields.be32(field::INCOMPAT);
        }
        let length = fields.be32(field::BLOCKS);
        let fast_commits = fields.be32(field::FAST_COMMIT_BLOCKS);
        let fast_commits = match (journal.features & HAS_FAST_COMMIT, fast_commits) {
            (0, _) => 0,
            (_, 0) => FAST_COMMIT_BLOCKS,
            (_, blocks) => blocks,
        };
        journal.first = fields.be32(field::FIRST);
        journal.sequence = fields.be32(field::SEQUENCE);
        journal.start = fields.be32(field::START);
        journal.end = length.saturating_sub(fast_commits);
        journal.seed = crc32c(!0, fields.bytes(field::UUID, 16));
        if length > MAX_BLOCKS {
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
        if fields.be32(field::COMPAT) & HAS_OLD_CHECKSUM != 0 {
            return Err(unsupported(
                "a journal with checksums of version 1 that has to be replayed",
            ));
        }
        if self.has_checksums() && fields.u8(field::CHECKSUM_TYPE) != CRC32C {
            return Err(unsupported("a journal with unknown checksums"));
        }
        let rest = field::LENGTH - field::AFTER_CHECKSUM;
        let covered = [
            fields.bytes(0, field::CHECKSUM),
            &[0; 4],
            fields.bytes(field::AFTER_CHECKSUM, rest),
        ];
        if self.verifies() && crc32c(!0, &covered.concat()) != fields.be32(field::CHECKSUM) {
            return Err(bad("has a superblock with a wrong checksum"));
        }
        let log = self.first..self.end;
        if self.first == 0 || log.is_empty() || (self.start != 0 && !log.contains(&self.start)) {
            return Err(bad("starts outside of its log"));
        }
        Ok(())
    }
}
