//! File systems, and what may contain them, that karat recognizes and cannot read.
//!
//! The crates for XFS and btrfs are made for boot loaders (`lamxfs` 0.1, `lambutter` 0.5). They lack what a listing needs: times, devices
//! and extended attributes, for XFS even owners. Half a listing would be worse than none.

use super::{BlockRead, ReadError};

/// Names of file systems and volumes with offset and value of their magic numbers.
const MAGICS: [(&str, u64, &[u8]); 4] = [
    ("an XFS file system", 0, b"XFSB"),
    ("an encrypted volume (LUKS)", 0, b"LUKS\xba\xbe"),
    // The label of a physical volume is in one of the first four sectors, by default in the second.
    ("an LVM volume", 512, b"LABELONE"),
    // The superblock is at 64 KiB; its magic number follows checksum, id, address and flags.
    ("a btrfs file system", (64 << 10) + 0x40, b"_BHRfS_M"),
];

/// Returns the name of the unsupported file system that fills `disk`, if it is one.
pub(crate) fn unsupported_file_system(
    disk: &dyn BlockRead,
) -> Result<Option<&'static str>, ReadError> {
    for (name, at, magic) in MAGICS {
        let mut found = [0; 8];
        let found = &mut found[..magic.len()];
        if disk.len() >= at + magic.len() as u64 {
            disk.read_at(at, found)?;
        }
        if found == magic {
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
    fn magic_numbers_count_only_at_their_offsets() {
        let disk = |at: usize, magic: &[u8]| {
            let mut bytes = vec![0; 128 << 10];
            bytes[at..at + magic.len()].copy_from_slice(magic);

            bytes
        };
        for (bytes, expected) in [
            (Vec::new(), None),
            (b"XFS".to_vec(), None),
            (b"XFSB".to_vec(), Some("an XFS file system")),
            (b"LUKS\xba\xbe".to_vec(), Some("an encrypted volume (LUKS)")),
            (disk(512, b"LABELONE"), Some("an LVM volume")),
            (disk(4, b"XFSB"), None),
            (disk(0x10040, b"_BHRfS_M"), Some("a btrfs file system")),
            (disk(0x10000, b"_BHRfS_M"), None),
        ] {
            assert_eq!(unsupported_file_system(&Memory(bytes)).unwrap(), expected);
        }
    }
}
