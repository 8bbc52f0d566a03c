//! Files that differ between two images, grouped by owner.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::change::{Change, changes};
use crate::disk::tree::{Listing, ListingLine, ListingPair, join_listings};

/// Keys that name a path.
const NAMES: [&str; 2] = ["path", "path_hex"];
/// Keys that depend on the build date.
const TIMES: [&str; 2] = ["mtime", "mtime_ns"];

/// Changed paths of two images.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Files {
    /// Paths by owner: packages by name, then the others.
    pub groups: Vec<Group>,
    /// Number of paths that differ only in their modification time; they are in no group.
    pub touched: usize,
}

/// Changed paths of one owner.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Group {
    #[serde(flatten)]
    pub owner: Owner,
    pub files: Vec<FileChange>,
}

/// Owner of a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "owner")]
pub enum Owner {
    Package {
        package: String,
    },
    /// Made by maintainer scripts of a package, or of one that is not known.
    Scripts {
        #[serde(skip_serializing_if = "Option::is_none")]
        package: Option<String>,
    },
    /// Copied by the template.
    Template,
    /// Neither a package's nor the template's.
    Nobody,
    /// The image is no longer in the store, or unreadable.
    Unknown,
}

/// A path that differs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FileChange {
    /// Path, with invalid UTF-8 replaced.
    pub path: String,
    /// Hexadecimal path, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    pub change: FileKind,
    /// Changed keys of the directory listing: `sha256`, `size`, `mode`, `uid`, `gid`, `target` and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    Added,
    Removed,
    Changed,
}

/// Returns the owner of a path.
type OwnerOf<'a> = &'a dyn Fn(&[u8]) -> Owner;

/// Returns the paths that differ, and the number of paths of each image. `owner` holds a function for each image.
pub(super) fn files(
    first: &Listing,
    second: &Listing,
    owner: [OwnerOf<'_>; 2],
) -> (Files, [u64; 2]) {
    let mut groups: BTreeMap<Owner, Vec<FileChange>> = BTreeMap::new();
    let (mut touched, mut counts) = (0, [0, 0]);
    for pair in join_listings(first, second) {
        let (side, line, change, changes) = match pair {
            ListingPair::First(line) => {
                counts[0] += 1;
                (0, line, FileKind::Removed, Vec::new())
            }
            ListingPair::Second(line) => {
                counts[1] += 1;
                (1, line, FileKind::Added, Vec::new())
            }
            ListingPair::Both(one, other) => {
                counts = counts.map(|count| count + 1);
                if one.keys == other.keys {
                    continue;
                }
                let changes = changed(one.keys, other.keys.clone());
                if changes.is_empty() {
                    touched += 1;
                    continue;
                }
                (1, other, FileKind::Changed, changes)
            }
        };
        let owner = owner[side](&line.path);
        groups
            .entry(owner)
            .or_default()
            .push(file(&line, change, changes));
    }
    let groups = groups.into_iter();
    let groups = groups
        .map(|(owner, files)| Group { owner, files })
        .collect();
    (Files { groups, touched }, counts)
}

fn file(line: &ListingLine, change: FileKind, changes: Vec<Change>) -> FileChange {
    let is_text = line.keys.contains_key("path");
    FileChange {
        path: String::from_utf8_lossy(&line.path).into_owned(),
        path_hex: (!is_text).then(|| line.name.clone()),
        change,
        changes,
    }
}

/// Returns the changes except those of times.
fn changed(mut one: Map<String, Value>, mut other: Map<String, Value>) -> Vec<Change> {
    for key in NAMES.iter().chain(&TIMES) {
        one.remove(*key);
        other.remove(*key);
    }
    changes(Some(&one.into()), Some(&other.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_grouped_by_owner_and_times_are_only_counted() {
        let first = "{\"mode\":\"0644\",\"path\":\"/a\",\"sha256\":\"1\",\"uid\":0}\n\
            {\"path\":\"/gone\"}\n{\"mtime\":1,\"path\":\"/old\"}\n{\"path\":\"/same\"}\n";
        let second = "{\"mode\":\"0600\",\"path\":\"/a\",\"sha256\":\"2\",\"uid\":7}\n\
            {\"mtime\":2,\"path\":\"/old\"}\n{\"path\":\"/same\"}\n{\"path_hex\":\"2fff\"}\n";
        let [one, other] = [first, second].map(Listing::of_text);
        let of_first = |path: &[u8]| match path {
            b"/gone" => Owner::Package {
                package: "app".to_owned(),
            },
            _ => Owner::Unknown,
        };
        let of_second = |path: &[u8]| match path {
            b"/a" => Owner::Package {
                package: "app".to_owned(),
            },
            _ => Owner::Nobody,
        };
        let (found, counts) = files(&one, &other, [&of_first, &of_second]);
        assert_eq!((found.touched, counts), (1, [4, 4]));
        let told = found.groups.iter().map(|group| {
            let files = group.files.iter().map(|file| {
                let changes: Vec<_> = file
                    .changes
                    .iter()
                    .map(|change| change.what.join("."))
                    .collect();
                format!("{} {:?} {}", file.path, file.change, changes.join(" "))
            });
            format!(
                "{:?}: {}",
                group.owner,
                files.collect::<Vec<_>>().join(", ")
            )
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                "Package { package: \"app\" }: /a Changed mode sha256 uid, /gone Removed ",
                "Nobody: /\u{fffd} Added ",
            ]
        );
        let hex = found.groups[1].files[0].path_hex.as_deref();
        assert_eq!(hex, Some("2fff"));
    }
}
