//! Lists of the files of images, and what put them there.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::read_verified;
use super::{Store, StoreError};
use crate::disk::tree::{Listing, follow_links};
use crate::record::explanation::{self, Cause, MadeByScripts};
use crate::record::manifest::Manifest;

impl Store {
    /// Returns the list of an image's files; `None` if the manifest names none, or the store does not have it.
    pub(crate) fn listing_of(&self, manifest: &Manifest) -> Result<Option<Listing>, StoreError> {
        let Some(tree) = manifest.outputs.tree else {
            return Ok(None);
        };
        let path = self.blob(&tree.listing);
        let Some(packed) = read_present(&path)? else {
            return Ok(None);
        };
        let listing = Listing::from_packed(packed).map_err(StoreError::io("read", &path))?;
        let actual = listing.digest();
        if actual != tree.digest {
            return Err(StoreError::Tampered { path, actual });
        }
        Ok(Some(listing))
    }

    /// Returns the cause of a path of an image; `None` if the image does not have it. Links on the way are followed.
    pub(crate) fn cause_of(
        &self,
        manifest: &Manifest,
        path: &str,
    ) -> Result<CauseLookup, StoreError> {
        let Some((blob, packed)) = self.explanation(manifest)? else {
            return Ok(CauseLookup::NotExplained);
        };
        let find = |path: &str| {
            explanation::find(&packed, path.as_bytes()).map_err(StoreError::io("read", &blob))
        };
        if let Some(cause) = find(path)? {
            return Ok(CauseLookup::Found(path.to_owned(), cause));
        }
        let listing = self.listing_of(manifest)?;
        let Some(real) = listing.and_then(|listing| resolve(&paths(&listing), path)) else {
            return Ok(CauseLookup::NoPath);
        };
        Ok(match find(&real)? {
            Some(cause) => CauseLookup::Found(real, cause),
            None => CauseLookup::NoPath,
        })
    }

    /// Returns the paths that maintainer scripts made in an image, with their packages; none if the store has no explanation.
    pub(crate) fn made_by_scripts(&self, manifest: &Manifest) -> Result<MadeByScripts, StoreError> {
        match self.explanation(manifest)? {
            Some((blob, packed)) => {
                explanation::made_by_scripts(&packed).map_err(StoreError::io("read", &blob))
            }
            None => Ok(MadeByScripts::new()),
        }
    }

    /// Returns the explanation of an image as it is stored, with its path; `None` if the manifest names none, or the store does
    /// not have it.
    pub(crate) fn explanation(
        &self,
        manifest: &Manifest,
    ) -> Result<Option<(PathBuf, Vec<u8>)>, StoreError> {
        let Some(explanation) = manifest.outputs.explanation else {
            return Ok(None);
        };
        let blob = self.blob(&explanation);
        Ok(read_present(&blob)?.map(|packed| (blob, packed)))
    }
}

/// Reads a blob; `None` if the store does not have it.
fn read_present(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match read_verified(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        packed => packed.map(Some),
    }
}

/// Result of looking up what put a path into an image.
pub(crate) enum CauseLookup {
    /// Path without links on the way, and its cause.
    Found(String, Cause),
    NoPath,
    /// The store has no explanation of the image.
    NotExplained,
}

/// Returns the paths of a tree, links with their targets.
fn paths(listing: &Listing) -> HashMap<Vec<u8>, Option<Vec<u8>>> {
    let lines = listing.lines().map_while(Result::ok);
    let paths = lines.filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        let text = |key: &str| Some(line.get(key)?.as_str()?.as_bytes().to_vec());
        Some((text("path")?, text("target")))
    });
    paths.collect()
}

/// Follows the links in the directories of a path, but not a link at its end.
fn resolve(paths: &HashMap<Vec<u8>, Option<Vec<u8>>>, path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = follow_links(directory.as_bytes(), |path| {
        Some(paths.get(path)?.as_deref())
    })?;
    let directory = String::from_utf8(directory).ok()?;
    Some(format!("{}/{name}", directory.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_directories_are_followed() {
        let links = [
            ("/bin", "usr/bin"),
            ("/usr/bin/vi", "/etc/alternatives/vi"),
            ("/a", "/b"),
            ("/b", "a"),
            ("/opt/now", "../srv/./v2"),
        ];
        let links = links.map(|(path, target)| (path, Some(target.as_bytes().to_vec())));
        let directories = ["/usr", "/usr/bin", "/opt", "/srv", "/srv/v2"].map(|path| (path, None));
        let all = links.into_iter().chain(directories);
        let paths = all.map(|(path, target)| (path.as_bytes().to_vec(), target));
        let paths = paths.collect();
        for (path, expected) in [
            ("/bin/ls", Some("/usr/bin/ls")),
            ("bin//ls/", Some("/usr/bin/ls")),
            ("/bin/vi", Some("/usr/bin/vi")),
            ("/bin", Some("/bin")),
            ("/opt/now/x", Some("/srv/v2/x")),
            ("/bin/../lib", Some("/usr/lib")),
            ("/a/x", None),
            ("/", Some("/")),
        ] {
            assert_eq!(resolve(&paths, path).as_deref(), expected, "{path}");
        }
    }
}
