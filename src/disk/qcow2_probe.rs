//! Probes a file for a qcow2 header without qemu-img, which would open the files that the header names.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::read::qcow2::external_file;

/// Enough of a qcow2 header to tell whether other files are involved.
const PROBE_BYTES: usize = 80;

/// Returns the other file that the image at `path` needs, if it is a qcow2 image that needs one.
pub(super) fn needs(path: &Path) -> io::Result<Option<&'static str>> {
    let mut bytes = Vec::with_capacity(PROBE_BYTES);
    File::open(path)?
        .take(PROBE_BYTES as u64)
        .read_to_end(&mut bytes)?;
    Ok(external_file(&bytes))
}
