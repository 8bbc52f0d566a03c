//! Reads the entries of a directory block by block. An index of names needs no care: its blocks look like unused entries.

use super::super::fields::{Fields, to_index};
use super::super::{DirectoryEntry, Inode, ReadError};

use super::file_cache::Opened;
use super::inode::Node;
use super::layout::directory as field;
use super::layout::kind_of;
use super::volume::Volume;
use super::{Feature, crc32c, damaged, too_large};

/// 128 MiB of entries; directories of system images have some thousands.
const MAX_ENTRIES: usize = 1 << 21;
/// Bytes of the smallest entry.
const MIN_ENTRY: usize = 12;
/// Offset of the entries in an inline directory: after the number of its parent.
const INLINE_START: usize = 4;

/// Returns all entries, sorted by name, without `.` and `..`.
pub(super) fn entries(volume: &Volume, opened: &Opened) -> Result<Vec<DirectoryEntry>, ReadError> {
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
    entries: Vec<DirectoryEntry>,
}

impl Directory<'_> {
    fn damaged(&self, problem: &str) -> ReadError {
        damaged(format!("directory {}: {problem}", self.node.number))
    }

    fn sorted(mut self) -> Result<Vec<DirectoryEntry>, ReadError> {
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let twice = self
            .entries
            .windows(2)
            .find(|pair| matches!(pair, [a, b] if a.name == b.name));
        if let Some([entry, ..]) = twice {
            let name = String::from_utf8_lossy(&entry.name);
            return Err(self.damaged(&format!("it contains {name:?} twice")));
        }
        Ok(self.entries)
    }

    /// Reads an inline directory: first the part in place of the map, then the part in an attribute. No entry crosses over.
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
        for extent in opened.extents().iter().filter(|extent| extent.written) {
            for index in 0..extent.length {
                let logical = extent.logical + index;
                if logical < end {
                    let bytes = self.volume.block(extent.physical + index)?;
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
            let length = entry_length(Fields(rest).le16(field::LENGTH), bytes.len());
            if length < MIN_ENTRY || !length.is_multiple_of(4) || length > rest.len() {
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
        let number = fields.le32(field::INODE);
        if number == 0 {
            return Ok(());
        }
        let has_kind = self.volume.superblock.has(Feature::FILETYPE);
        let length = if has_kind {
            fields.u8(field::NAME_LENGTH).into()
        } else {
            fields.le16(field::NAME_LENGTH)
        };
        let name = bytes
            .get(field::NAME..)
            .and_then(|rest| rest.get(..length.into()));
        let Some(name) = name.filter(|name| is_name(name)) else {
            return Err(self.damaged("an entry has an impossible name"));
        };
        if matches!(name, b"." | b"..") {
            return Ok(());
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Err(too_large(format!(
                "directory {} has more than {MAX_ENTRIES} entries",
                self.node.number
            )));
        }
        let inode = Inode(number.into());
        self.volume.number(inode)?;
        self.entries.push(DirectoryEntry {
            name: name.into(),
            inode,
            kind: has_kind.then(|| kind_of(fields.u8(field::KIND))).flatten(),
        });
        Ok(())
    }

    fn check_block(&self, bytes: &[u8], logical: u64) -> Result<(), ReadError> {
        if !self.volume.verifies(Feature::METADATA_CSUM) {
            return Ok(());
        }
        let first = entry_length(Fields(bytes).le16(field::LENGTH), bytes.len());
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

    /// Returns the stored and the actual checksum of a block of entries. The last entry contains it, unused and marked.
    fn leaf_checksum(&self, bytes: &[u8]) -> Option<(u32, u32)> {
        let (covered, tail) = bytes.split_at_checked(bytes.len().checked_sub(field::TAIL)?)?;
        let marked = tail.starts_with(&[0, 0, 0, 0, 12, 0, 0, field::TAIL_KIND]);
        let stored = Fields(tail).le32(field::TAIL_CHECKSUM);
        marked.then(|| (stored, crc32c(self.node.seed, covered)))
    }

    /// Returns the stored and the actual checksum of an index block. It follows the space for entries, whose unused part it
    /// does not cover.
    fn index_checksum(&self, bytes: &[u8], logical: u64) -> Option<(u32, u32)> {
        let fields = Fields(bytes);
        // The root has `.` and `..`, then a header with its own length.
        let start = if logical == 0 {
            field::INDEX_HEADER + usize::from(fields.u8(field::INDEX_HEADER_LENGTH))
        } else {
            field::NAME
        };
        let (limit, count) = (
            usize::from(fields.le16(start)),
            usize::from(fields.le16(start + 2)),
        );
        let covered = bytes.get(..start + count * field::INDEX_ENTRY)?;
        let tail = bytes
            .get(start + limit * field::INDEX_ENTRY..)?
            .get(..field::INDEX_TAIL)?;
        let (reserved, stored) = tail.split_at_checked(4)?;
        let seed = crc32c(crc32c(self.node.seed, covered), reserved);
        Some((Fields(stored).le32(0), crc32c(seed, &[0; 4])))
    }
}

/// Decodes the length of an entry, for which the field is too small in the largest block.
fn entry_length(stored: u16, block: usize) -> usize {
    match stored {
        0 | u16::MAX if block == 1 << 16 => block,
        _ => usize::from(stored & !3) | usize::from(stored & 3) << 16,
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}
