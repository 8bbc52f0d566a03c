//! Compiled Python modules whose sources are clamped.
//!
//! A `.pyc` starts with a magic number, flags, and time and size of its source, four little-endian bytes each (PEP 552). With
//! flags of zero, Python uses the module only if time and size match the source.

use super::{CleanError, content};
use crate::disk::read::{FileSystem, FileType};
use crate::disk::tree::Tree;
use crate::distro::python::source_of_compiled;

const HEADER: usize = 16;
const FLAGS: std::ops::Range<usize> = 4..8;
const TIME: std::ops::Range<usize> = 8..12;

/// Returns every compiled module whose source is newer than the epoch, with the bytes that match the clamped source.
pub(super) fn compiled_after(
    tree: &Tree,
    files: &dyn FileSystem,
    epoch: i64,
) -> Result<Vec<(usize, Vec<u8>)>, CleanError> {
    let mut stale = Vec::new();
    for (path, index) in tree.paths() {
        if !path.ends_with(b".pyc") || tree.files()[index].kind != FileType::File {
            continue;
        }
        let Some(source) = source_of_compiled(path).and_then(|source| tree.find(&source)) else {
            continue;
        };
        let written = tree.files()[source].mtime.seconds;
        if written <= epoch {
            continue;
        }
        let mut bytes = content(tree, files, path, index)?;
        if is_current(&bytes, written) {
            bytes[TIME].copy_from_slice(&low_bits(epoch));
            stale.push((index, bytes));
        }
    }
    Ok(stale)
}

/// Returns whether the module was compiled from a source with this time.
fn is_current(bytes: &[u8], written: i64) -> bool {
    bytes.len() >= HEADER && bytes[FLAGS] == [0; 4] && bytes[TIME] == low_bits(written)
}

/// Python keeps the low 32 bits.
fn low_bits(time: i64) -> [u8; 4] {
    let [a, b, c, d, ..] = time.to_le_bytes();
    [a, b, c, d]
}
