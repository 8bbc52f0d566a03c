//! A cache of files with their maps, for the next read.

use super::super::fields::to_index;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{DataRun, ReadError};
use super::extents::{self, Extent};
use super::inode::Node;
use super::volume::Volume;
use super::{attributes, damaged};

/// A few threads hash eight files each at once.
const MAX_FILES: usize = 40;
/// Extents of all maps together: 128 MiB.
const MAX_EXTENTS: usize = 1 << 22;

/// An inode with its map or inline content.
#[derive(Debug)]
pub(super) struct Opened {
    pub node: Node,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Inline(Vec<u8>),
    Mapped(Vec<Extent>),
}

impl Opened {
    fn new(volume: &Volume, node: Node) -> Result<(Self, u64), ReadError> {
        let (content, claimed) = if node.is_fast() {
            (Content::Inline(node.map().to_vec()), 0)
        } else if node.is_inline() {
            let bytes = [node.map(), &attributes::inline_data(&node)?].concat();
            (Content::Inline(bytes), 0)
        } else {
            let (extents, claimed) = extents::read(volume, &node)?;
            (Content::Mapped(extents), claimed)
        };
        Ok((Self { node, content }, claimed))
    }

    /// Returns the extents on the disk; inline content has none.
    pub fn extents(&self) -> &[Extent] {
        match &self.content {
            Content::Inline(_) => &[],
            Content::Mapped(extents) => extents,
        }
    }

    pub fn runs(&self, volume: &Volume) -> Vec<DataRun> {
        let size = self.node.size;
        let Content::Mapped(extents) = &self.content else {
            let whole = DataRun {
                offset: 0,
                length: size,
            };
            return if size == 0 { Vec::new() } else { vec![whole] };
        };
        let block = u64::from(volume.superblock.block_size);
        let mut runs: Vec<DataRun> = Vec::new();
        for extent in extents.iter().filter(|extent| extent.written) {
            let (offset, end) = (extent.logical * block, (extent.end() * block).min(size));
            match runs.last_mut() {
                _ if offset >= end => {}
                Some(last) if last.offset + last.length == offset => {
                    last.length = end - last.offset;
                }
                _ => runs.push(DataRun {
                    offset,
                    length: end - offset,
                }),
            }
        }
        runs
    }

    /// Fills the buffer from `offset` on, and returns the number of bytes read.
    pub fn read_at(
        &self,
        volume: &Volume,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, ReadError> {
        let left = self.node.size.saturating_sub(offset);
        let length = to_index(left).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..length).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        match &self.content {
            Content::Inline(bytes) => self.read_inline(bytes, offset, buffer)?,
            Content::Mapped(extents) => read_mapped(volume, extents, offset, buffer)?,
        }
        Ok(length)
    }

    fn read_inline(&self, bytes: &[u8], offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let start = to_index(offset);
        let content = bytes.get(start..).and_then(|rest| rest.get(..buffer.len()));
        let Some(content) = content else {
            let number = self.node.number;
            return Err(damaged(format!(
                "inode {number} is larger than its inline content"
            )));
        };
        buffer.copy_from_slice(content);
        Ok(())
    }
}

fn read_mapped(
    volume: &Volume,
    extents: &[Extent],
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), ReadError> {
    let block = u64::from(volume.superblock.block_size);
    let mut next = extents.partition_point(|extent| extent.end() * block <= offset);
    let (mut at, mut rest) = (offset, buffer);
    while !rest.is_empty() {
        let extent = extents.get(next);
        let start = extent.map_or(u64::MAX, |extent| extent.logical * block);
        let (until, source) = match extent {
            Some(extent) if start <= at => {
                let physical = extent.physical * block + (at - start);
                next += 1;
                (extent.end() * block, extent.written.then_some(physical))
            }
            _ => (start, None),
        };
        let length = to_index(until - at).min(rest.len());
        let (now, later) = rest.split_at_mut(length);
        match source {
            Some(source) => volume.disk.read_at(source, now)?,
            None => now.fill(0),
        }
        at += length as u64;
        rest = later;
    }
    Ok(())
}

/// The files read last, and the blocks that all files claim.
#[derive(Debug, Default)]
pub(super) struct Files {
    recent: Mutex<VecDeque<(u32, Arc<Opened>)>>,
    claims: Mutex<Claims>,
}

/// Number of blocks of the files seen so far. A block belongs to one file, so together they cannot have more than the file
/// system: without this bound, a million inodes with the same blocks would keep a reader busy for years.
#[derive(Debug, Default)]
struct Claims {
    counted: HashSet<u32>,
    blocks: u64,
}

impl Files {
    /// Opens a file, or returns it from the cache.
    pub fn open(&self, volume: &Volume, number: u32) -> Result<Arc<Opened>, ReadError> {
        if let Some(opened) = self.recall(number) {
            return Ok(opened);
        }
        let (opened, claimed) = Opened::new(volume, volume.node(number)?)?;
        self.count(volume, number, claimed)?;
        let opened = Arc::new(opened);
        self.keep(number, &opened);
        Ok(opened)
    }

    fn recall(&self, number: u32) -> Option<Arc<Opened>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, opened) = recent.iter().find(|(other, _)| *other == number)?;
        Some(Arc::clone(opened))
    }

    fn keep(&self, number: u32, opened: &Arc<Opened>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_front((number, Arc::clone(opened)));
        let mut extents = 0;
        let fitting = recent.iter().take(MAX_FILES).take_while(|(_, opened)| {
            extents += opened.extents().len();
            extents <= MAX_EXTENTS
        });
        let kept = fitting.count().max(1);
        recent.truncate(kept);
    }

    fn count(&self, volume: &Volume, number: u32, claimed: u64) -> Result<(), ReadError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed == 0 || !claims.counted.insert(number) {
            return Ok(());
        }
        claims.blocks += claimed;
        if claims.blocks > volume.superblock.blocks {
            return Err(damaged(
                "its files together claim more blocks than there are: some blocks belong to several files",
            ));
        }
        Ok(())
    }
}
