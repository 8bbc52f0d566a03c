//! A path that differs between two listings.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::disk::tree::{ListingLine, ListingPair};

/// Undeclared files of a new directory that are reported one by one; of more, only the directory is reported.
const MAX_REPORTED_FILES: usize = 20;
/// Properties that do not count: names, times, and the size beside the digest.
const UNCOMPARED: [&str; 5] = ["path", "path_hex", "mtime", "mtime_ns", "size"];

pub(super) struct Change {
    pub kind: ChangeKind,
    /// The line of the second listing, or of the first if the path was removed.
    line: ListingLine,
}

pub(super) enum ChangeKind {
    Added,
    Removed,
    /// Names of the properties that differ.
    Changed(BTreeSet<String>),
}

impl Change {
    /// Returns the difference of the lines of a path, if there is one.
    pub fn of(pair: ListingPair) -> Option<Self> {
        let (kind, line) = match pair {
            ListingPair::First(line) => (ChangeKind::Removed, line),
            ListingPair::Second(line) => (ChangeKind::Added, line),
            ListingPair::Both(before, after) => {
                let differs = |name: &&String| {
                    !UNCOMPARED.contains(&name.as_str())
                        && before.keys.get(name.as_str()) != after.keys.get(name.as_str())
                };
                let names = before.keys.keys().chain(after.keys.keys());
                let names: BTreeSet<String> = names.filter(differs).cloned().collect();
                if names.is_empty() {
                    return None;
                }
                (ChangeKind::Changed(names), after)
            }
        };
        Some(Self { kind, line })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.line.path
    }

    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.line.path).into_owned()
    }

    pub fn is_directory(&self) -> bool {
        self.text("kind") == "directory"
    }

    /// Returns whether it is a directory without flags and extended attributes.
    pub fn is_plain_directory(&self) -> bool {
        let keys = &self.line.keys;
        self.is_directory() && !keys.contains_key("xattrs") && !keys.contains_key("flags")
    }

    /// Returns whether the bytes of a file changed, but not its kind, owner or rights.
    pub fn is_content_only(&self) -> bool {
        matches!(&self.kind, ChangeKind::Changed(names) if names.iter().eq(["sha256"]))
    }

    fn text(&self, key: &str) -> &str {
        let value = self.line.keys.get(key).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    pub fn evidence(&self) -> String {
        match &self.kind {
            ChangeKind::Added if self.text("kind") == "link" => {
                format!("leads to {}", self.text("target"))
            }
            ChangeKind::Added => format!("{}, mode {}", self.text("kind"), self.text("mode")),
            ChangeKind::Removed => "it was there after the packages were installed".to_owned(),
            ChangeKind::Changed(names) => {
                let names: Vec<String> = names.iter().map(|name| self.property(name)).collect();
                format!(
                    "changed after the packages were installed: {}",
                    names.join(", ")
                )
            }
        }
    }

    fn property(&self, name: &str) -> String {
        match (name, self.line.keys.get(name)) {
            ("sha256", _) => "content".to_owned(),
            ("same_as", _) => "hard links".to_owned(),
            ("xattrs", Some(Value::Array(all))) => {
                let names: Vec<&str> = all
                    .iter()
                    .filter_map(|xattr| xattr["name"].as_str())
                    .collect();
                format!("extended attributes, now {}", names.join(" "))
            }
            ("xattrs", _) => "extended attributes, now none".to_owned(),
            (name, Some(Value::String(value))) => format!("{name}, now {value}"),
            (name, Some(value)) => format!("{name}, now {value}"),
            (name, None) => name.to_owned(),
        }
    }

    /// Returns whether everything below the path changes with it.
    fn is_root_of_changes(&self) -> bool {
        match &self.kind {
            ChangeKind::Changed(names) => names.contains("kind"),
            _ => self.is_directory(),
        }
    }
}

/// A change to report.
pub(super) struct Group {
    pub change: Change,
    /// Number of changed files below it that are not reported themselves.
    pub below: usize,
}

/// A topmost directory that is new or gone.
struct Top {
    /// Number of changed files below it.
    files: usize,
    is_new: bool,
}

impl Top {
    /// Returns whether it stands for what is below it.
    fn is_whole(&self) -> bool {
        !self.is_new || self.files == 0 || self.files > MAX_REPORTED_FILES
    }
}

/// Summarizes changes below a directory: one that is gone stands for what was in it; a new one for its files if there are many or
/// none, and otherwise its files stand for it.
pub(super) fn grouped(changes: Vec<Change>) -> Vec<Group> {
    // Parents come before their children.
    let mut tops: HashMap<Vec<u8>, Top> = HashMap::new();
    for change in &changes {
        let above = path_above(change, &tops).map(<[u8]>::to_vec);
        match above.and_then(|path| tops.get_mut(&path)) {
            Some(top) => top.files += usize::from(!change.is_directory()),
            None if change.is_root_of_changes() => {
                let is_new = matches!(change.kind, ChangeKind::Added);
                let top = Top { files: 0, is_new };
                tops.insert(change.bytes().to_vec(), top);
            }
            None => {}
        }
    }
    let groups = changes.into_iter().filter_map(|change| {
        let own = tops.get(change.bytes());
        let is_told = match (own, path_above(&change, &tops)) {
            (Some(top), _) => top.is_whole(),
            (None, Some(above)) => !change.is_directory() && !tops[above].is_whole(),
            (None, None) => true,
        };
        let below = own.map_or(0, |top| top.files);
        is_told.then_some(Group { change, below })
    });
    groups.collect()
}

/// Returns the path above a change that is in `tops`.
fn path_above<'c>(change: &'c Change, tops: &HashMap<Vec<u8>, Top>) -> Option<&'c [u8]> {
    let path = change.bytes();
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let mut above = slashes.map(|(at, _)| &path[..at]);
    above.find(|above| tops.contains_key(*above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::tree::{Listing, join_listings};

    fn line(path: &str, rest: &str) -> String {
        format!("{{\"path\":\"{path}\",{rest}}}\n")
    }

    const FILE: &str = r#""kind":"file","mode":"0644","sha256":"00""#;
    const DIRECTORY: &str = r#""kind":"directory","mode":"0755""#;

    fn told(before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<(String, String, usize)> {
        let [before, after] = [before, after].map(|lines| {
            let mut lines = lines.to_vec();
            lines.sort_unstable();
            let text: String = lines.iter().map(|(path, rest)| line(path, rest)).collect();
            Listing::of_text(&text)
        });
        let changes = join_listings(&before, &after).filter_map(Change::of);
        let groups = grouped(changes.collect()).into_iter();
        groups
            .map(|group| (group.change.path(), group.change.evidence(), group.below))
            .collect()
    }

    #[test]
    fn every_property_but_times_is_compared() {
        let with = |more: &str| format!("{FILE},{more}");
        let same = [with(r#""mtime":1,"size":3"#), with(r#""mtime":2"#)];
        assert!(told(&[("/a", &same[0])], &[("/a", &same[1])]).is_empty());
        for (after, expected) in [
            (FILE.replace("0644", "4755"), "mode, now 4755"),
            (FILE.replace("00\"", "01\""), "content"),
            (FILE.replace("file", "fifo"), "kind, now fifo"),
            (with(r#""uid":7"#), "uid, now 7"),
            (with(r#""flags":"i""#), "flags, now i"),
            (with(r#""same_as":"/b""#), "hard links"),
            (
                with(r#""xattrs":[{"name":"security.capability","value_hex":"01"}]"#),
                "extended attributes, now security.capability",
            ),
        ] {
            let [(_, evidence, _)] = &told(&[("/a", FILE)], &[("/a", &after)])[..] else {
                panic!("{expected}");
            };
            assert!(evidence.ends_with(expected), "{evidence}");
        }
    }

    #[test]
    fn a_directory_stands_for_what_is_below_it_where_that_says_more() {
        let paths = |told: Vec<(String, String, usize)>| -> Vec<(String, usize)> {
            told.into_iter()
                .map(|(path, _, below)| (path, below))
                .collect()
        };
        let expect = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
            list.iter()
                .map(|(path, below)| ((*path).to_owned(), *below))
                .collect()
        };
        let few = [
            ("/n", DIRECTORY),
            ("/n-2", FILE),
            ("/n/d", DIRECTORY),
            ("/n/d/a", FILE),
        ];
        let all = [("/n", 2)];
        assert_eq!(
            paths(told(&[], &few)),
            expect(&[("/n-2", 0), ("/n/d/a", 0)])
        );
        assert_eq!(paths(told(&few, &[])), expect(&[("/n", 1), ("/n-2", 0)]));
        let both = [("/n", DIRECTORY), ("/n/a", FILE), ("/n/b", FILE)];
        let link = r#""kind":"link","mode":"0777","target":"/x""#;
        assert_eq!(paths(told(&both, &[("/n", link)])), expect(&all));
        let empty = [("/n", DIRECTORY), ("/n/d", DIRECTORY)];
        assert_eq!(paths(told(&[], &empty)), expect(&[("/n", 0)]));

        let names: Vec<String> = (0..=MAX_REPORTED_FILES)
            .map(|number| format!("/n/{number}"))
            .collect();
        let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), FILE)).collect();
        many.push(("/n", DIRECTORY));
        let total = MAX_REPORTED_FILES + 1;
        assert_eq!(paths(told(&[], &many)), expect(&[("/n", total)]));
    }
}
