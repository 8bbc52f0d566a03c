//! File systems that karat knows of and does not read.
//!
//! There are crates for both, made for boot loaders (`lamxfs` 0.1, `lambutter` 0.5): neither says what a listing needs, the times,
//! devices and extended attributes of files, XFS not even their owners. Half a listing would be worse than none.

use super::{BlockRead, ReadError};

/// What each begins with: its name, where the mark is, and the mark.
const MARKS: [(&str, u64, &[u8]); 2] = [
    ("an XFS file system", 0, b"XFSB"),
    // The superblock is at 64 KiB, and the mark in it behind checksum, id, address and flags.
    ("a btrfs file system", (64 << 10) + 0x40, b"_BHRfS_M"),
];

/// The name of such a file system, if it fills `disk`.
///
/// # Errors
/// The disk cannot be read.
pub fn foreign(disk: &dyn BlockRead) -> Result<Option<&'static str>, ReadError> {
    for (name, at, mark) in MARKS {
        let mut found = [0; 8];
        let found = &mut found[..mark.len()];
        if disk.len() >= at + mark.len() as u64 {
            disk.read_at(at, found)?;
        }
        if found == mark {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn marks_are_looked_for_where_they_are() {
        let disk = |at: usize, mark: &[u8]| {
            let mut bytes = vec![0; 128 << 10];
            bytes[at..at + mark.len()].copy_from_slice(mark);
            bytes
        };
        for (bytes, expected) in [
            (Vec::new(), None),
            (b"XFS".to_vec(), None),
            (b"XFSB".to_vec(), Some("an XFS file system")),
            (disk(4, b"XFSB"), None),
            (disk(0x10040, b"_BHRfS_M"), Some("a btrfs file system")),
            (disk(0x10000, b"_BHRfS_M"), None),
        ] {
            assert_eq!(foreign(&Memory(bytes)).unwrap(), expected);
        }
    }
}
