//! Replays a journal without writing: the result is a map from blocks to the places in the journal with their new content.
//!
//! Layout and order: fs/jbd2/recovery.c of Linux.

mod features;
mod open;

use std::collections::HashMap;

use self::features::{HAS_64BIT, HAS_CSUM_V2, HAS_CSUM_V3, HAS_FAST_COMMIT};
use super::super::fields::{Fields, to_index};
use super::super::{BlockRead as _, ReadError};
use super::extents::{self, Extent};
use super::layout::journal::MAGIC_NUMBER;
use super::overlay::{Replaced, Replacement};
use super::volume::Volume;
use super::{Checksums, PART, crc32c, damaged};

/// Kinds of the blocks that the journal itself consists of; the others are copies of the file system's.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// Bytes of a control block's header: magic number, kind, sequence number; all big-endian.
const HEADER: usize = 12;
const KIND: usize = 4;
const SEQUENCE: usize = 8;
/// Fields of a commit block.
const COMMIT_CHECKSUM: usize = 0x10;
const COMMIT_SECONDS: usize = 0x30;
const COMMIT_NANOSECONDS: usize = 0x38;
/// Bytes of the checksum at the end of descriptor and revoke blocks.
const TAIL: usize = 4;
/// Flag of a tag: the block starts with the magic number, which was zeroed.
const ESCAPED: u32 = 1;
/// Flag of a tag: same UUID as the previous tag, which is not repeated.
const SAME_UUID: u32 = 2;
/// Flag of a descriptor's last tag.
const LAST: u32 = 8;
/// First tag of the area of fast commits.
const FAST_COMMIT_HEAD: u16 = 9;

/// Reads the journal of a file system that was not unmounted cleanly.
pub(super) fn replay(volume: &Volume) -> Result<Replaced, ReadError> {
    let number = volume.superblock.journal_inode;
    if number == 0 {
        return Err(unsupported(
            "a journal on another disk that has to be replayed",
        ));
    }
    let (extents, _) = extents::read(volume, &volume.node(number)?)?;
    let journal = Journal::open(volume, extents)?;
    if journal.start == 0 {
        return Ok(Replaced::new());
    }
    let transactions = journal.scan()?;
    journal.refuse_fast_commits(transactions.end)?;
    let revoked = journal.revoked(&transactions)?;
    journal.replaced(&transactions, &revoked)
}

fn unsupported(feature: impl Into<String>) -> ReadError {
    ReadError::Unsupported {
        part: PART,
        feature: feature.into(),
        help: "shut the guest down cleanly, so that its root is unmounted, or run `e2fsck -p` on a copy of the disk",
    }
}

fn bad(problem: &str) -> ReadError {
    damaged(format!("its journal {problem}"))
}

struct Journal<'a> {
    volume: &'a Volume,
    extents: Vec<Extent>,
    /// First block of the log, and the block after its last.
    first: u32,
    end: u32,
    /// Block of the first transaction; 0 in an empty log.
    start: u32,
    /// Sequence number of the first transaction.
    sequence: u32,
    features: u32,
    seed: u32,
}

/// A control block of the journal.
struct ControlBlock {
    kind: u32,
    sequence: u32,
    bytes: Vec<u8>,
    /// The block after it.
    next: u32,
}

struct Transactions {
    /// Control blocks of complete transactions.
    blocks: Vec<u32>,
    /// Sequence number after the last one.
    end: u32,
}

/// A block of the file system that a descriptor lists.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

impl Journal<'_> {
    fn has_checksums(&self) -> bool {
        self.features & (HAS_CSUM_V2 | HAS_CSUM_V3) != 0
    }

    fn verifies(&self) -> bool {
        self.has_checksums() && self.volume.checksums == Checksums::Verify
    }

    /// Returns the offset of a block of the journal on the disk, in bytes.
    fn offset(&self, block: u32) -> Result<u64, ReadError> {
        let block = u64::from(block);
        let index = self.extents.partition_point(|extent| extent.end() <= block);
        match self.extents.get(index) {
            Some(extent) if extent.logical <= block => {
                let physical = extent.physical + (block - extent.logical);
                Ok(physical * u64::from(self.volume.superblock.block_size))
            }
            _ => Err(bad("has a hole")),
        }
    }

    fn block(&self, block: u32) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; to_index(self.volume.superblock.block_size)];
        self.volume.disk.read_at(self.offset(block)?, &mut bytes)?;
        Ok(bytes)
    }

    /// Returns the block `count` blocks later: the log is a ring.
    fn after(&self, block: u32, count: u32) -> u32 {
        let length = self.end - self.first;
        self.first + (block - self.first + count % length) % length
    }

    /// Reads a control block; the kind of any other block is 0.
    fn control_block(&self, block: u32) -> Result<ControlBlock, ReadError> {
        let bytes = self.block(block)?;
        let fields = Fields(&bytes);
        let has_magic = fields.be32(0) == MAGIC_NUMBER;
        Ok(ControlBlock {
            kind: if has_magic { fields.be32(KIND) } else { 0 },
            sequence: fields.be32(SEQUENCE),
            next: self.after(block, 1),
            bytes,
        })
    }

    /// Finds the complete transactions, in order.
    fn scan(&self) -> Result<Transactions, ReadError> {
        let mut found = Transactions {
            blocks: Vec::new(),
            end: self.sequence,
        };
        let mut complete = 0;
        let mut committed = (0, 0);
        let mut stale = false;
        let mut at = self.start;
        // Each step consumes at least one block, and a log contains each of them once.
        let mut left = self.end - self.first;
        loop {
            let block = self.control_block(at)?;
            if block.sequence != found.end || left == 0 {
                break;
            }
            let mut used = 1;
            match block.kind {
                DESCRIPTOR => {
                    stale |= !self.tail_is_right(&block.bytes);
                    // At most one tag for each eight bytes of a block.
                    used += u32::try_from(self.tags(&block.bytes).len()).unwrap_or(u32::MAX / 2);
                }
                REVOKE => stale |= !self.tail_is_right(&block.bytes),
                COMMIT => {
                    let fields = Fields(&block.bytes);
                    let time = (fields.be64(COMMIT_SECONDS), fields.be32(COMMIT_NANOSECONDS));
                    if stale || !self.commit_is_right(&block.bytes) {
                        // Older than the previous commit: left over from the last pass through the ring.
                        if time < committed {
                            break;
                        }
                        return Err(bad(&format!(
                            "has wrong checksums in transaction {}",
                            block.sequence
                        )));
                    }
                    committed = time;
                    found.end = found.end.wrapping_add(1);
                }
                _ => break,
            }
            found.blocks.push(at);
            if block.kind == COMMIT {
                complete = found.blocks.len();
            }
            left = left.saturating_sub(used);
            at = self.after(at, used);
        }
        found.blocks.truncate(complete);
        Ok(found)
    }

    fn tail_is_right(&self, bytes: &[u8]) -> bool {
        if !self.verifies() {
            return true;
        }
        let (covered, tail) = bytes
            .split_at_checked(bytes.len().saturating_sub(TAIL))
            .unwrap_or_default();
        crc32c(crc32c(self.seed, covered), &[0; TAIL]) == Fields(tail).be32(0)
    }

    fn commit_is_right(&self, bytes: &[u8]) -> bool {
        if !self.verifies() {
            return true;
        }
        let fields = Fields(bytes);
        let rest = bytes.get(COMMIT_CHECKSUM + 4..).unwrap_or_default();
        let covered = [fields.bytes(0, COMMIT_CHECKSUM), &[0; 4], rest].concat();
        crc32c(self.seed, &covered) == fields.be32(COMMIT_CHECKSUM)
    }

    /// Returns the entries of a descriptor or revoke block, unused ones included.
    fn entries<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let end = bytes.len() - if self.has_checksums() { TAIL } else { 0 };
        bytes.get(HEADER..end).unwrap_or_default()
    }

    /// Parses the tags of a descriptor: the blocks whose content follows it, in this order.
    fn tags(&self, descriptor: &[u8]) -> Vec<Tag> {
        let wide = self.features & HAS_64BIT != 0;
        let v3 = self.features & HAS_CSUM_V3 != 0;
        let v2 = self.features & HAS_CSUM_V2 != 0;
        // By an old mistake of the kernel, version 2 adds two bytes for a checksum that has its place already.
        let length = if v3 {
            16
        } else {
            8 + if wide { 4 } else { 0 } + if v2 { 2 } else { 0 }
        };
        let mut tags = Vec::new();
        let mut rest = self.entries(descriptor);
        while rest.len() >= length {
            let fields = Fields(rest);
            let high = if wide {
                u64::from(fields.be32(8)) << 32
            } else {
                0
            };
            let tag = Tag {
                block: u64::from(fields.be32(0)) | high,
                flags: if v3 {
                    fields.be32(4)
                } else {
                    u32::from(fields.be16(6))
                },
                checksum: if v3 {
                    fields.be32(12)
                } else {
                    fields.be16(4).into()
                },
            };
            let uuid = if tag.flags & SAME_UUID == 0 { 16 } else { 0 };
            let last = tag.flags & LAST != 0;
            tags.push(tag);
            rest = rest.get(length + uuid..).unwrap_or_default();
            if last {
                break;
            }
        }
        tags
    }

    /// Returns the last transaction that revoked each block: older content of the block is not replayed.
    fn revoked(&self, transactions: &Transactions) -> Result<HashMap<u64, u32>, ReadError> {
        let mut revoked = HashMap::new();
        let length = if self.features & HAS_64BIT == 0 { 4 } else { 8 };
        for &at in &transactions.blocks {
            let block = self.control_block(at)?;
            if block.kind != REVOKE {
                continue;
            }
            let used = to_index(Fields(&block.bytes).be32(HEADER));
            let end = HEADER + self.entries(&block.bytes).len();
            let records = block.bytes.get(HEADER + 4..used);
            let Some(records) = records.filter(|_| used <= end) else {
                return Err(bad("has a record of revoked blocks that is too long"));
            };
            for record in records.chunks_exact(length).map(Fields) {
                let number = if length == 4 {
                    record.be32(0).into()
                } else {
                    record.be64(0)
                };
                // In order, so the last one stays.
                revoked.insert(number, block.sequence.wrapping_sub(self.sequence));
            }
        }
        Ok(revoked)
    }

    fn replaced(
        &self,
        transactions: &Transactions,
        revoked: &HashMap<u64, u32>,
    ) -> Result<Replaced, ReadError> {
        let mut replaced = Replaced::new();
        for &at in &transactions.blocks {
            let block = self.control_block(at)?;
            if block.kind != DESCRIPTOR {
                continue;
            }
            let transaction = block.sequence.wrapping_sub(self.sequence);
            let mut from = block.next;
            for tag in self.tags(&block.bytes) {
                let is_current = revoked
                    .get(&tag.block)
                    .is_none_or(|last| *last < transaction);
                if is_current {
                    self.volume.check_journaled_block(tag.block)?;
                    self.check_data(from, &tag, block.sequence)?;
                    let replacement = Replacement {
                        offset: self.offset(from)?,
                        escaped: tag.flags & ESCAPED != 0,
                    };
                    replaced.insert(tag.block, replacement);
                }
                from = self.after(from, 1);
            }
        }
        Ok(replaced)
    }

    fn check_data(&self, at: u32, tag: &Tag, sequence: u32) -> Result<(), ReadError> {
        if !self.verifies() {
            return Ok(());
        }
        let seed = crc32c(self.seed, &sequence.to_be_bytes());
        let checksum = crc32c(seed, &self.block(at)?);
        let mask = if self.features & HAS_CSUM_V3 == 0 {
            0xffff
        } else {
            !0
        };
        if checksum & mask == tag.checksum {
            return Ok(());
        }
        Err(bad(&format!(
            "has block {} with a wrong checksum",
            tag.block
        )))
    }

    /// Fails if there are fast commits: they record changes instead of blocks, so only the kernel can replay them.
    fn refuse_fast_commits(&self, next: u32) -> Result<(), ReadError> {
        if self.features & HAS_FAST_COMMIT == 0 {
            return Ok(());
        }
        // The kernel leaves one block unused between the log and their area.

        let bytes = self.block(self.end + 1)?;
        let fields = Fields(&bytes);
        if fields.le16(0) == FAST_COMMIT_HEAD && fields.le32(8) == next {
            return Err(unsupported("fast commits in its journal"));
        }
        Ok(())
    }
}
