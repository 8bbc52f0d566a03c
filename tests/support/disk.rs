//! Disks of 1 MiB that karat accepts as a base, without a system to boot.

/// Returns a disk with a boot sector and, by its magic number, an XFS, which karat does not read. `fill` tells disks apart.
pub fn xfs(fill: u8) -> Vec<u8> {
    let mut bytes = bootable(vec![fill; 1 << 20]);
    bytes[..4].copy_from_slice(b"XFSB");
    bytes
}

/// Gives the bytes of a disk a boot signature.
pub fn bootable(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}
