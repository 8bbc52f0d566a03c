//! A disk with some of its blocks replaced by their content in the journal.

use super::super::fields::to_index;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::blocks::check;
use super::super::{BlockRead, ReadError, Span};
use super::layout::journal::MAGIC_NUMBER;

/// Place of a block's new content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Replacement {
    /// Offset on the disk, in bytes.
    pub offset: u64,
    /// The content starts with the journal's magic number, which is zeroed in the journal.
    pub escaped: bool,
}

/// Replacements by number of the block.
pub(super) type Replaced = BTreeMap<u64, Replacement>;

pub(super) struct Overlay {
    disk: Arc<dyn BlockRead>,
    block_size: u64,
    replaced: Replaced,
}

impl Overlay {
    pub fn new(disk: Arc<dyn BlockRead>, block_size: u64, replaced: Replaced) -> Self {
        Self {
            disk,
            block_size,
            replaced,
        }
    }

    /// Copies the part of a replaced block that `buffer` covers; the buffer starts at `offset`.
    fn replace(
        &self,
        block: u64,
        with: Replacement,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), ReadError> {
        let start = block * self.block_size;
        let end = (start + self.block_size).min(offset + buffer.len() as u64);
        let from = start.max(offset);
        // Both are within the buffer.
        let place = to_index(from - offset);
        let length = to_index(end - from);
        let Some(target) = buffer
            .get_mut(place..)
            .and_then(|rest| rest.get_mut(..length))
        else {
            return Ok(());
        };
        let within = from - start;
        self.disk.read_at(with.offset + within, target)?;
        if with.escaped {
            let magic = MAGIC_NUMBER.to_be_bytes();
            let rest = usize::try_from(within)
                .ok()
                .and_then(|skip| magic.get(skip..));
            for (byte, magic) in target.iter_mut().zip(rest.unwrap_or_default()) {
                *byte = *magic;
            }
        }
        Ok(())
    }
}

impl BlockRead for Overlay {
    fn len(&self) -> u64 {
        self.disk.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        check(offset, buffer.len() as u64, self.len())?;
        self.disk.read_at(offset, buffer)?;
        let last = (offset + buffer.len() as u64).div_ceil(self.block_size);
        for (block, with) in self.replaced.range(offset / self.block_size..last) {
            self.replace(*block, *with, offset, buffer)?;
        }
        Ok(())
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let span = self.disk.span(offset)?;
        let end = (offset + span.length).div_ceil(self.block_size);
        let replaced = self.replaced.range(offset / self.block_size..end).next();
        match replaced {
            // Zero up to the replaced block, and data from there on.
            Some((block, _)) if span.zero => Ok(match block * self.block_size {
                start if start > offset => Span::zeros(start - offset),
                start => Span::data((start + self.block_size - offset).min(span.length)),
            }),
            _ => Ok(span),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Memory;
    use super::*;

    #[test]
    fn any_part_of_a_replaced_block_is_seen() {
        let mut bytes: Vec<u8> = (0..64).collect();
        bytes[48..52].fill(0);
        let replacement = |offset, escaped| Replacement { offset, escaped };
        let replaced = [(1, replacement(40, false)), (2, replacement(48, true))].into();
        let disk = Overlay::new(Arc::new(Memory(bytes.clone())), 8, replaced);
        let mut expected = bytes.clone();
        expected[8..16].copy_from_slice(&bytes[40..48]);
        expected[16..24].copy_from_slice(&bytes[48..56]);
        expected[16..20].copy_from_slice(&MAGIC_NUMBER.to_be_bytes());

        for start in 0..32 {
            for length in 0..32 {
                let mut buffer = vec![0; length];
                disk.read_at(start as u64, &mut buffer).unwrap();
                assert_eq!(buffer, expected[start..start + length], "{start}+{length}");
            }
        }
        assert!(disk.read_at(60, &mut [0; 5]).is_err());
    }
}
