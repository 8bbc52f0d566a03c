//! Listing of a directory, whose SHA-256 is the digest of the directory.
//!
//! It has an entry for each path, sorted: `directory <path>`, or `file <mode> <digest> <path>`, each terminated by a zero byte.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::digest::Digest;

/// An entry of a directory listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listed<'a> {
    /// Path below the directory. It never leads out of it.
    pub path: &'a Path,
    /// SHA-256 of a file; `None` for a directory.
    pub digest: Option<Digest>,
    pub executable: bool,
}

/// Parses a listing. An invalid entry is `None`.
pub(crate) fn listed(listing: &[u8]) -> impl Iterator<Item = Option<Listed<'_>>> {
    let entries = listing.split(|&byte| byte == 0);
    entries.filter(|entry| !entry.is_empty()).map(parse_entry)
}

fn parse_entry(entry: &[u8]) -> Option<Listed<'_>> {
    let (path, digest, executable) = if let Some(path) = entry.strip_prefix(b"directory ") {
        (path, None, false)
    } else {
        let rest = entry.strip_prefix(b"file ")?;
        let (mode, rest) = (rest.get(..4)?, rest.get(5..)?);
        let digest = std::str::from_utf8(rest.get(..64)?).ok()?.parse().ok()?;
        (rest.get(65..)?, Some(digest), mode == b"0755")
    };
    let path = Path::new(OsStr::from_bytes(path));
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    (is_inside && !path.as_os_str().is_empty()).then_some(Listed {
        path,
        digest,
        executable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_never_leads_out_of_the_directory() {
        for hostile in [
            "directory ../x",
            "directory /x",
            "directory ",
            "file 0644 12 x",
            "link x",
            "directory a/../../b",
        ] {
            assert_eq!(listed(hostile.as_bytes()).next(), Some(None), "{hostile:?}");
        }
    }
}
