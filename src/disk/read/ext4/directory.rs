//! The entries of a directory: block by block, whether there is an index of names or not, which looks like unused entries.

use super::super::fields::{Fields, to_index};
use super::super::{Entry, Inode, Kind, ReadError};
use super::file_cache::Opened;
use super::inode::Node;
use super::volume::Volume;
use super::{Feature, crc32c, damaged, too_large};

/// 128 MiB of entries; directories of system images have some thousands.
const MOST_ENTRIES: usize = 1 << 21;
/// Inode, length of the entry, length of the name and kind.
const HEADER: usize = 8;
/// The unused entry at the end of a block that has its checksum.
const TAIL: usize = 12;
/// Where the entries start in a directory that is kept in its inode: behind its parent's number.
const INLINE_START: usize = 4;

/// All entries, sorted, without `.` and `..`.
pub(super) fn entries(volume: &Volume, opened: &Opened) -> Result<Vec<Entry>, ReadError> {
    let mut directory = Directory {
        volume,
        node: &opened.node,
        entries: Vec::new(),
    };
    if opened.node.is_inline() {
        directory.inline(opened)?;
    } else {
        directory.blocks(opened)?;
    }
    directory.sorted()
}

struct Directory<'a> {
    volume: &'a Volume,
    node: &'a Node,
    entries: Vec<Entry>,
}

impl Directory<'_> {
    fn damaged(&self, problem: &str) -> ReadError {
        damaged(format!("directory {}: {problem}", self.node.number))
    }

    fn sorted(mut self) -> Result<Vec<Entry>, ReadError> {
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let twice = self
            .entries
            .windows(2)
            .find(|pair| matches!(pair, [a, b] if a.name == b.name));
        if let Some([entry, ..]) = twice {
            let name = String::from_utf8_lossy(&entry.name);
            return Err(self.damaged(&format!("{name:?} is in it twice")));
        }
        Ok(self.entries)
    }

    /// First what is in place of the map, then what is in an attribute. No entry crosses from one to the other.
    fn inline(&mut self, opened: &Opened) -> Result<(), ReadError> {
        let start = self.node.map().len();
        // The attribute is within the inode, so this is small.
        let size = to_index(self.node.size).min(1 << 16);
        let mut bytes = vec![0; size.max(start)];
        opened.read_at(self.volume, 0, &mut bytes)?;
        let (first, second) = bytes.split_at_checked(start).unwrap_or_default();
        self.list(first.get(INLINE_START..).unwrap_or_default())?;
        self.list(second)
    }

    fn blocks(&mut self, opened: &Opened) -> Result<(), ReadError> {
        let block_size = u64::from(self.volume.superblock.block_size);
        let end = self.node.size.div_ceil(block_size);
        for piece in opened.pieces().iter().filter(|piece| piece.written) {
            for index in 0..piece.length {
                let logical = piece.logical + index;
                if logical < end {
                    let bytes = self.volume.block(piece.physical + index)?;
                    self.check_block(&bytes, logical)?;
                    self.list(&bytes)?;
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = entry_length(Fields(rest).le16(4), bytes.len());
            if length < TAIL || !length.is_multiple_of(4) || length > rest.len() {
                return Err(self.damaged("an entry has an impossible length"));
            }
            let (entry, after) = rest.split_at_checked(length).unwrap_or_default();
            self.entry(entry)?;
            rest = after;
        }
        Ok(())
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        let fields = Fields(bytes);
        let number = fields.le32(0);
        if number == 0 {
            return Ok(());
        }
        let has_kind = self.volume.superblock.has(Feature::FILETYPE);
        let length = if has_kind {
            fields.u8(6).into()
        } else {
            fields.le16(6)
        };
        let name = bytes
            .get(HEADER..)
            .and_then(|rest| rest.get(..length.into()));
        let Some(name) = name.filter(|name| is_name(name)) else {
            return Err(self.damaged("an entry has an impossible name"));
        };
        if matches!(name, b"." | b"..") {
            return Ok(());
        }
        if self.entries.len() >= MOST_ENTRIES {
            return Err(too_large(format!(
                "directory {} has more than {MOST_ENTRIES} entries",
                self.node.number
            )));
        }
        let inode = Inode(number.into());
        self.volume.number(inode)?;
        self.entries.push(Entry {
            name: name.into(),
            inode,
            kind: if has_kind { kind(fields.u8(7)) } else { None },
        });
        Ok(())
    }

    fn check_block(&self, bytes: &[u8], logical: u64) -> Result<(), ReadError> {
        if !self.volume.verifies(Feature::METADATA_CSUM) {
            return Ok(());
        }
        let first = entry_length(Fields(bytes).le16(4), bytes.len());
        let index = self.node.has_index() && (logical == 0 || first == bytes.len());
        let checksum = if index {
            self.index_checksum(bytes, logical)
        } else {
            self.leaf_checksum(bytes)
        };
        match checksum {
            Some((stored, computed)) if stored == computed => Ok(()),
            _ => Err(self.damaged(&format!("the checksum of block {logical} is wrong"))),
        }
    }

    /// The checksum in the last entry, which is unused and marked.
    fn leaf_checksum(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        let (covered, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL)?)?;
        let marked = tail.starts_with(&[0, 0, 0, 0, 12, 0, 0, 0xde]);
        marked.then(|| (Fields(tail).le32(8), crc32c(self.node.seed, covered)))
    }

    /// The checksum behind the room for entries of the index. What is unused of that room is not covered.
    fn index_checksum(&self, bytes: &[u8], logical: u64) -> Option<(u32, u32)> {
        let fields = Fields(bytes);
        // The root has `.` and `..`, then a header that says how long it is.
        let start = if logical == 0 {
            24 + usize::from(fields.u8(0x1d))
        } else {
            HEADER
        };
        let (limit, count) = (
            usize::from(fields.le16(start)),
            usize::from(fields.le16(start + 2)),
        );
        let covered = bytes.get(..start + count * 8)?;
        let tail = bytes.get(start + limit * 8..)?.get(..8)?;
        let (reserved, stored) = tail.split_at_checked(4)?;
        let seed = crc32c(crc32c(self.node.seed, covered), reserved);
        Some((Fields(stored).le32(0), crc32c(seed, &[0; 4])))
    }
}

/// Sixteen bits are too few for the largest block.
fn entry_length(stored: u16, block: usize) -> usize {
    match stored {
        0 | u16::MAX if block == 1 << 16 => block,
        _ => usize::from(stored & !3) | usize::from(stored & 3) << 16,
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn kind(stored: u8) -> Option<Kind> {
    // The high bits are for others.
    Some(match stored & 0xf {
        1 => Kind::File,
        2 => Kind::Directory,
        3 => Kind::CharDevice,
        4 => Kind::BlockDevice,
        5 => Kind::Fifo,
        6 => Kind::Socket,
        7 => Kind::Link,
        _ => return None,
    })
}
