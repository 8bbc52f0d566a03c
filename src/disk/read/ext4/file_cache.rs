//! Files whose map was read, kept for the next read.

use crate::disk::read::fields::to_index;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::extents::{self, Piece};
use super::inode::Node;
use super::volume::Volume;
use super::{attributes, damaged};
use crate::disk::read::{ReadError, Run};

/// Eight for each of a few threads, as whoever hashes files side by side has them.
const MOST_FILES: usize = 40;
/// Pieces of all maps together: 128 MiB.
const MOST_PIECES: usize = 1 << 22;

/// An inode with what it takes to read its content.
#[derive(Debug)]
pub(super) struct Opened {
    pub node: Node,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// In the inode.
    Inline(Vec<u8>),
    /// On the disk.
    Mapped(Vec<Piece>),
}

impl Opened {
    fn new(volume: &Volume, node: Node) -> Result<(Self, u64), ReadError> {
        if node.is_fast() {
            let content = Content::Inline(node.map().to_vec());
            return Ok((Self { node, content }, 0));
        }
        if node.is_inline() {
            let mut bytes = node.map().to_vec();
            bytes.extend(attributes::inline_data(&node)?);
            let content = Content::Inline(bytes);
            return Ok((Self { node, content }, 0));
        }
        let (pieces, claimed) = extents::pieces(volume, &node)?;
        let content = Content::Mapped(pieces);
        Ok((Self { node, content }, claimed))
    }

    /// Where it is on the disk; nothing for what is kept in the inode.
    pub fn pieces(&self) -> &[Piece] {
        match &self.content {
            Content::Inline(_) => &[],
            Content::Mapped(pieces) => pieces,
        }
    }

    pub fn runs(&self, volume: &Volume) -> Vec<Run> {
        let size = self.node.size;
        let Content::Mapped(pieces) = &self.content else {
            let whole = Run {
                offset: 0,
                length: size,
            };
            return if size == 0 { Vec::new() } else { vec![whole] };
        };
        let block = u64::from(volume.superblock.block_size);
        let mut runs: Vec<Run> = Vec::new();
        for piece in pieces.iter().filter(|piece| piece.written) {
            let (offset, end) = (piece.logical * block, (piece.end() * block).min(size));
            match runs.last_mut() {
                _ if offset >= end => {}
                Some(last) if last.offset + last.length == offset => {
                    last.length = end - last.offset;
                }
                _ => runs.push(Run {
                    offset,
                    length: end - offset,
                }),
            }
        }
        runs
    }

    /// Fills the buffer from `offset` on, and says how many bytes there were.
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
            Content::Mapped(pieces) => read_mapped(volume, pieces, offset, buffer)?,
        }
        Ok(length)
    }

    fn read_inline(&self, bytes: &[u8], offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let start = to_index(offset);
        let there = bytes.get(start..).and_then(|rest| rest.get(..buffer.len()));
        let Some(there) = there else {
            let number = self.node.number;
            return Err(damaged(format!(
                "inode {number} is said to hold more than it does"
            )));
        };
        buffer.copy_from_slice(there);
        Ok(())
    }
}

fn read_mapped(
    volume: &Volume,
    pieces: &[Piece],
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), ReadError> {
    let block = u64::from(volume.superblock.block_size);
    let mut next = pieces.partition_point(|piece| piece.end() * block <= offset);
    let (mut at, mut rest) = (offset, buffer);
    while !rest.is_empty() {
        let piece = pieces.get(next);
        let start = piece.map_or(u64::MAX, |piece| piece.logical * block);
        let (until, source) = match piece {
            Some(piece) if start <= at => {
                let source = piece.written.then(|| piece.physical * block + (at - start));
                next += 1;
                (piece.end() * block, source)
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

/// The last files that were read, and what all of them claim.
#[derive(Debug, Default)]
pub(super) struct Files {
    recent: Mutex<VecDeque<(u32, Arc<Opened>)>>,
    claims: Mutex<Claims>,
}

/// How many blocks the files seen so far take. No block belongs to two, so together they cannot take more than there is: without
/// this, a million names for the same blocks would keep a reader busy for years.
#[derive(Debug, Default)]
struct Claims {
    counted: HashSet<u32>,
    blocks: u64,
}

impl Files {
    /// A file, from memory if it was read lately.
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
        let mut pieces = 0;
        let fits = |(_, opened): &(u32, Arc<Opened>)| {
            pieces += opened.pieces().len();
            pieces <= MOST_PIECES
        };
        let fitting = recent.iter().take(MOST_FILES).take_while({
            let mut fits = fits;
            move |file| fits(file)
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
                "its files together claim more blocks than there are: some are in several files",
            ));
        }
        Ok(())
    }
}
