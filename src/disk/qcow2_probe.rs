//! The header of a qcow2 image, read without qemu-img, which would open what it points at.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Bytes of a qcow2 header that say whether other files are involved.
const LENGTH: usize = 80;

/// Incompatible feature bit 2 of qcow2: guest data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;

/// The first bytes of the file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(LENGTH);
    File::open(path)?
        .take(LENGTH as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What else an image with this qcow2 header needs (layout: docs/interop/qcow2 of QEMU).
pub(super) fn needs(header: &[u8]) -> Option<&'static str> {
    let number = |at: usize| {
        let bytes = header.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    };
    if !header.starts_with(b"QFI\xfb") {
        return None;
    }
    // Version 2 has no feature bits: there these bytes belong to something else.
    let has_features = header.get(4..8)? != [0, 0, 0, 2];
    if number(8)? != 0 {
        Some("a backing file")
    } else if has_features && number(72)? & EXTERNAL_DATA != 0 {
        Some("a data file")
    } else {
        None
    }
}
