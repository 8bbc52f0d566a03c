//! What the journal holds that is not in its place yet. Nothing is copied or written: replaying gives a map from blocks to where
//! the journal has their new content.
//!
//! Layout and order: fs/jbd2/recovery.c of Linux.

mod features;
mod open;

use std::collections::HashMap;

use self::features::{HAS_64BIT, HAS_CSUM_V2, HAS_CSUM_V3, HAS_FAST_COMMIT};
use super::super::fields::{Fields, to_index};
use super::super::{BlockRead as _, ReadError};
use super::extents::{self, Piece};
use super::overlay::{Replaced, Replacement};
use super::volume::Volume;
use super::{PART, crc32c, damaged};

/// Every block of the journal's own starts with it, big-endian like all that is in here.
pub(super) const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;

/// Magic number, type, sequence number.
const HEADER: usize = 12;
/// The checksum at the end of a block of the journal's own.
const TAIL: usize = 4;
/// In a descriptor: the block starts with the magic number, which was zeroed.
const ESCAPED: u32 = 1;
/// In a descriptor: the same UUID as before, so it is not repeated.
const SAME_UUID: u32 = 2;
/// In a descriptor: nothing follows.
const LAST: u32 = 8;
/// How the area of fast commits starts, if there is one.
const FAST_COMMIT_HEAD: u16 = 9;

/// Reads the journal of a file system that was not unmounted cleanly.
pub(super) fn replay(volume: &Volume) -> Result<Replaced, ReadError> {
    let number = volume.superblock.journal_inode;
    if number == 0 {
        return Err(unsupported(
            "a journal on another disk that has to be replayed",
        ));
    }
    let (pieces, _) = extents::pieces(volume, &volume.node(number)?)?;
    let journal = Journal::open(volume, pieces)?;
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
        help: "shut the guest down cleanly, so that its root is unmounted; `e2fsck -p` on a copy of the disk does it afterwards",
    }
}

fn bad(problem: &str) -> ReadError {
    damaged(format!("its journal {problem}"))
}

struct Journal<'a> {
    volume: &'a Volume,
    pieces: Vec<Piece>,
    /// The first block of the log, and the one after its last.
    first: u32,
    end: u32,
    /// Where the log starts now; 0 if it is empty.
    start: u32,
    /// The number of the transaction there.
    sequence: u32,
    features: u32,
    seed: u32,
}

/// A block of the journal's own: where it is, of which transaction, its bytes.
struct Own {
    kind: u32,
    sequence: u32,
    bytes: Vec<u8>,
    /// The block after it.
    next: u32,
}

/// Which transactions are complete: all from the first one up to, but not with `end`; and where their own blocks are.
struct Transactions {
    blocks: Vec<u32>,
    end: u32,
}

/// A block that a descriptor names.
struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

impl Journal<'_> {
    fn has_checksums(&self) -> bool {
        self.features & (HAS_CSUM_V2 | HAS_CSUM_V3) != 0
    }

    /// Where a block of the journal is on the disk, in bytes.
    fn offset(&self, block: u32) -> Result<u64, ReadError> {
        let block = u64::from(block);
        let index = self.pieces.partition_point(|piece| piece.end() <= block);
        match self.pieces.get(index) {
            Some(piece) if piece.logical <= block => {
                let physical = piece.physical + (block - piece.logical);
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

    /// The log is a ring.
    fn after(&self, block: u32, count: u32) -> u32 {
        let length = self.end - self.first;
        self.first + (block - self.first + count % length) % length
    }

    fn own(&self, block: u32) -> Result<Own, ReadError> {
        let bytes = self.block(block)?;
        let fields = Fields(&bytes);
        let is_own = fields.be32(0) == MAGIC;
        Ok(Own {
            kind: if is_own { fields.be32(4) } else { 0 },
            sequence: fields.be32(8),
            next: self.after(block, 1),
            bytes,
        })
    }

    /// Finds the transactions that were completed, by what they are in order.
    fn scan(&self) -> Result<Transactions, ReadError> {
        let mut found = Transactions {
            blocks: Vec::new(),
            end: self.sequence,
        };
        let mut complete = 0;
        let mut committed = (0, 0);
        let mut stale = false;
        let mut at = self.start;
        // Each step takes at least one block, and a log holds each of them once.
        let mut left = self.end - self.first;
        loop {
            let own = self.own(at)?;
            if own.sequence != found.end || left == 0 {
                break;
            }
            let mut used = 1;
            match own.kind {
                DESCRIPTOR => {
                    stale |= !self.tail_is_right(&own.bytes);
                    // At most one for each eight bytes of a block.
                    used += u32::try_from(self.tags(&own.bytes).len()).unwrap_or(u32::MAX / 2);
                }
                REVOKE => stale |= !self.tail_is_right(&own.bytes),
                COMMIT => {
                    let time = (Fields(&own.bytes).be64(0x30), Fields(&own.bytes).be32(0x38));
                    if stale || !self.commit_is_right(&own.bytes) {
                        // Older than what was committed before: left over from the last time round.
                        if time < committed {
                            break;
                        }
                        return Err(bad(&format!(
                            "has wrong checksums in transaction {}",
                            own.sequence
                        )));
                    }
                    committed = time;
                    found.end = found.end.wrapping_add(1);
                }
                _ => break,
            }
            found.blocks.push(at);
            if own.kind == COMMIT {
                complete = found.blocks.len();
            }
            left = left.saturating_sub(used);
            at = self.after(at, used);
        }
        found.blocks.truncate(complete);
        Ok(found)
    }

    fn tail_is_right(&self, bytes: &[u8]) -> bool {
        if !self.has_checksums() || !self.volume.verify() {
            return true;
        }
        let (covered, tail) = bytes
            .split_at_checked(bytes.len().saturating_sub(TAIL))
            .unwrap_or_default();
        crc32c(crc32c(self.seed, covered), &[0; TAIL]) == Fields(tail).be32(0)
    }

    fn commit_is_right(&self, bytes: &[u8]) -> bool {
        if !self.has_checksums() || !self.volume.verify() {
            return true;
        }
        let fields = Fields(bytes);
        let covered = [
            fields.bytes(0, 0x10),
            &[0; 4],
            bytes.get(0x14..).unwrap_or_default(),
        ]
        .concat();
        crc32c(self.seed, &covered) == fields.be32(0x10)
    }

    /// Room for entries in a block of the journal's own.
    fn room<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let end = bytes.len() - if self.has_checksums() { TAIL } else { 0 };
        bytes.get(HEADER..end).unwrap_or_default()
    }

    /// The blocks that a descriptor names: those that follow it, in this order.
    fn tags(&self, descriptor: &[u8]) -> Vec<Tag> {
        let wide = self.features & HAS_64BIT != 0;
        let v3 = self.features & HAS_CSUM_V3 != 0;
        let v2 = self.features & HAS_CSUM_V2 != 0;
        // The kernel once forgot that a checksum of two bytes has room already, and that stayed.
        let length = if v3 {
            16
        } else {
            8 + if wide { 4 } else { 0 } + if v2 { 2 } else { 0 }
        };
        let mut tags = Vec::new();
        let mut rest = self.room(descriptor);
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

    /// The last transaction that revoked a block: what older ones have for it is not to be replayed.
    fn revoked(&self, transactions: &Transactions) -> Result<HashMap<u64, u32>, ReadError> {
        let mut revoked = HashMap::new();
        let length = if self.features & HAS_64BIT == 0 { 4 } else { 8 };
        for &at in &transactions.blocks {
            let own = self.own(at)?;
            if own.kind != REVOKE {
                continue;
            }
            let used = to_index(Fields(&own.bytes).be32(HEADER));
            let records = own.bytes.get(HEADER + 4..used);
            let Some(records) = records.filter(|_| used <= HEADER + self.room(&own.bytes).len())
            else {
                return Err(bad("has a record of revoked blocks that is too long"));
            };
            for record in records.chunks_exact(length).map(Fields) {
                let block = if length == 4 {
                    record.be32(0).into()
                } else {
                    record.be64(0)
                };
                // In order, so the last one stays.
                revoked.insert(block, own.sequence.wrapping_sub(self.sequence));
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
            let own = self.own(at)?;
            if own.kind != DESCRIPTOR {
                continue;
            }
            let transaction = own.sequence.wrapping_sub(self.sequence);
            let mut from = own.next;
            for tag in self.tags(&own.bytes) {
                let current = revoked
                    .get(&tag.block)
                    .is_none_or(|last| *last < transaction);
                if current {
                    self.volume.check_blocks_of_journal(tag.block)?;
                    self.check_data(from, &tag, own.sequence)?;
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
        if !self.has_checksums() || !self.volume.verify() {
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

    /// Fast commits name changes, not blocks: only the kernel can replay them.
    fn refuse_fast_commits(&self, next: u32) -> Result<(), ReadError> {
        if self.features & HAS_FAST_COMMIT == 0 {
            return Ok(());
        }
        // The kernel leaves a block between the log and their area.
        let bytes = self.block(self.end + 1)?;
        let fields = Fields(&bytes);
        if fields.le16(0) == FAST_COMMIT_HEAD && fields.le32(8) == next {
            return Err(unsupported("fast commits in its journal"));
        }
        Ok(())
    }
}
