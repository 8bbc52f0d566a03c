//! The blocks of a disk that have to be written: those with data, or those that differ from a disk that is there already.

use crate::disk::read::{BlockRead, ReadError};
use crate::ec2::client::ebs::BLOCK;

/// Hands over every block of `disk` that differs from `parent`, or from zeros. The end of the last block is zeros.
pub(super) fn changed<E: From<ReadError>>(
    disk: &dyn BlockRead,
    parent: Option<&dyn BlockRead>,
    mut each: impl FnMut(u64, Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let step = BLOCK as u64;
    let mut index = 0;
    while index * step < disk.len() {
        let offset = index * step;
        let mut hole = zeros(disk, offset)?;
        if let Some(parent) = parent {
            hole = hole.min(zeros(parent, offset)?);
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

/// How many bytes from an offset on are known to be zeros; more than any disk has, when none follow.
fn zeros(disk: &dyn BlockRead, offset: u64) -> Result<u64, ReadError> {
    let mut at = offset;
    while at < disk.len() {
        let span = disk.span(at)?;
        if !span.zero || span.length == 0 {
            return Ok(at - offset);
        }
        at += span.length;
    }
    // No disk is that large, and no sum with it is too large.
    Ok(1 << 62)
}

fn read(disk: &dyn BlockRead, offset: u64) -> Result<Vec<u8>, ReadError> {
    let mut block = vec![0; BLOCK];
    let left = disk.len().saturating_sub(offset);
    let length = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
    // A disk may be smaller than the one that is made of it.
    if length > 0 {
        disk.read_at(offset, &mut block[..length])?;
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::read::Memory;

    /// A disk of so many blocks, those of these values: `.` is zeros.
    fn disk(blocks: &str, cut: usize) -> Memory {
        let mut bytes = Vec::new();
        for value in blocks.bytes() {
            let value = if value == b'.' { 0 } else { value };
            bytes.resize(bytes.len() + BLOCK, value);
        }
        bytes.truncate(bytes.len() - cut);
        Memory(bytes)
    }

    fn written(of: &str, parent: Option<&str>, cut: usize) -> String {
        let mut found = String::new();
        let parent = parent.map(|it| disk(it, 0));
        let parent = parent.as_ref().map(|it| it as &dyn BlockRead);
        changed::<ReadError>(&disk(of, cut), parent, |index, block| {
            assert_eq!(block.len(), BLOCK);
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
            // A block that is empty now has to be said.
            ("a..", Some("aa"), "1. "),
            ("a.bb", Some("a."), "2b 3b "),
        ] {
            assert_eq!(written(of, parent, 0), expected, "{of} after {parent:?}");
        }
        assert_eq!(written("ab", None, BLOCK - 1), "0a 1b ");
    }
}
