//! Files of two images, by the package that has them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::change::{Change, changes};
use crate::disk::tree::{Line, Listing, Pair, pairs};

/// What a path is called, not what is there.
const NAMES: [&str; 2] = ["path", "path_hex"];
/// Follows from the day on which an image was made.
const TIMES: [&str; 2] = ["mtime", "mtime_ns"];

/// Paths that are not the same in both.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Files {
    /// By package: first those by name, then those that no package has.
    pub groups: Vec<Group>,
    /// How many paths differ in nothing but the time of their last change; they are not among the groups.
    pub touched: usize,
}

/// Paths of one package.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Group {
    /// Who has them.
    #[serde(flatten)]
    pub owner: Owner,
    /// The paths in order.
    pub files: Vec<FileChange>,
}

/// Who has a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "owner")]
pub enum Owner {
    /// A package.
    Package {
        /// Its name.
        package: String,
    },
    /// The template put it there.
    Template,
    /// No package.
    Nobody,
    /// The image is not in the store any more, or cannot be read.
    Unknown,
}

/// A path that is not the same in both.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FileChange {
    /// The path; what is no text in it is replaced.
    pub path: String,
    /// The path in hexadecimal, where it is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// What became of it.
    pub change: FileKind,
    /// What about it changed: `sha256`, `size`, `mode`, `uid`, `gid`, `target` and the other keys of a list of files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What became of a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// It was not there.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

/// Tells whose a path is.
type OwnerOf<'a> = &'a dyn Fn(&[u8]) -> Owner;

/// The paths that differ. `owner` tells whose a path is, in the first image or in the second one.
pub(super) fn files(
    first: &Listing,
    second: &Listing,
    owner: [OwnerOf<'_>; 2],
) -> (Files, [u64; 2]) {
    let mut groups: BTreeMap<Owner, Vec<FileChange>> = BTreeMap::new();
    let (mut touched, mut counts) = (0, [0, 0]);
    for pair in pairs(first, second) {
        let (side, line, change, changes) = match pair {
            Pair::First(line) => {
                counts[0] += 1;
                (0, line, FileKind::Removed, Vec::new())
            }
            Pair::Second(line) => {
                counts[1] += 1;
                (1, line, FileKind::Added, Vec::new())
            }
            Pair::Both(one, other) => {
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
    let groups = groups
        .into_iter()
        .map(|(owner, files)| Group { owner, files });
    let groups = groups.collect();
    (Files { groups, touched }, counts)
}

fn file(line: &Line, change: FileKind, changes: Vec<Change>) -> FileChange {
    let is_text = line.keys.contains_key("path");
    FileChange {
        path: String::from_utf8_lossy(&line.path).into_owned(),
        path_hex: (!is_text).then(|| line.name.clone()),
        change,
        changes,
    }
}

/// What differs but times.
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
    fn paths_are_grouped_by_who_has_them_and_times_are_only_counted() {
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
            let files = group.files.iter().map(|it| {
                let changes: Vec<_> = it.changes.iter().map(|it| it.what.join(".")).collect();
                format!("{} {:?} {}", it.path, it.change, changes.join(" "))
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
