//! Blocks of a disk to upload: those with data, or those that differ from a parent disk.

use crate::disk::read::{BlockRead, ReadError};
use crate::ec2::client::ebs::BLOCK_BYTES;

/// Passes every block of `disk` that differs from `parent`, or from zeros, to `each`. The last block is padded with zeros.
pub(super) fn changed<E: From<ReadError>>(
    disk: &dyn BlockRead,
    parent: Option<&dyn BlockRead>,
    mut each: impl FnMut(u64, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let step = BLOCK_BYTES as u64;
    let mut index = 0;
    while index * step < disk.len() {
        let offset = index * step;
        let mut hole = zeros_at(disk, offset)?;
        if let Some(parent) = parent {
            hole = hole.min(zeros_at(parent, offset)?);
        }
        if hole >= step {
            index += hole / step;
            continue;
        }
        let block = read(disk, offset)?;
        let same = match parent {
            Some(parent) => read(parent, offset)? == block,
            None => block.iter().all(|byte| *byte == 0),
        };
        if !same {
            each(index, block)?;
        }
        index += 1;
    }
    Ok(())
}

/// Returns the number of bytes from `offset` on that are known to be zeros; more than any disk has if only zeros follow.
fn zeros_at(disk: &dyn BlockRead, offset: u64) -> Result<u64, ReadError> {
    let mut at = offset;
    while at < disk.len() {
        let span = disk.span(at)?;
        if !span.zero || span.length == 0 {
            return Ok(at - offset);
        }
        at += span.length;
    }
    // Larger than any disk, and small enough that no sum overflows.
    Ok(1 << 62)
}

fn read(disk: &dyn BlockRead, offset: u64) -> Result<Vec<u8>, ReadError> {
    let mut block = vec![0; BLOCK_BYTES];
    let left = disk.len().saturating_sub(offset);
    let length = usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
    // The parent may be smaller than the disk.
    if length > 0 {
        disk.read_at(offset, &mut block[..length])?;
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::read::Memory;

    /// Makes a disk with one block per character, filled with it; `.` is zeros.
    fn disk(blocks: &str, cut: usize) -> Memory {
        let mut bytes = Vec::new();
        for value in blocks.bytes() {
            let value = if value == b'.' { 0 } else { value };
            bytes.resize(bytes.len() + BLOCK_BYTES, value);
        }
        bytes.truncate(bytes.len() - cut);
        Memory(bytes)
    }

    fn written(of: &str, parent: Option<&str>, cut: usize) -> String {
        let mut found = String::new();
        let parent = parent.map(|blocks| disk(blocks, 0));
        let parent = parent.as_ref().map(|parent| parent as &dyn BlockRead);
        changed::<ReadError>(&disk(of, cut), parent, |index, block| {
            assert_eq!(block.len(), BLOCK_BYTES);
            let value = if block[0] == 0 { '.' } else { block[0] as char };
            found.extend([index.to_string(), format!("{value} ")]);
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn only_blocks_that_differ_are_written() {
        for (of, parent, expected) in [
            ("", None, ""),
            ("...", None, ""),
            ("a.b", None, "0a 2b "),
            ("a.b", Some("a.b"), ""),
            ("a.b", Some("a.c"), "2b "),
            // A block that became empty has to be written.
            ("a..", Some("aa"), "1. "),
            ("a.bb", Some("a."), "2b 3b "),
        ] {
            assert_eq!(written(of, parent, 0), expected, "{of} after {parent:?}");
        }
        assert_eq!(written("ab", None, BLOCK_BYTES - 1), "0a 1b ");
    }
}
