//! Removes machine-specific state from a tree by a table of [rules], and clamps its times.
//!
//! The result depends on the template and its lock, not on the day, the host or the run. Files of the package database are
//! never removed.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::read::{FileSystem, FileType, ReadError, Time, to_index};
use super::tree::{Content, Tree};
use crate::digest::Digest;
use crate::record::canonical;

mod owned;
mod python;
mod rewrite;
pub(crate) mod rules;

pub use owned::Owners;
use rules::{Action, RULES, Rule, VERSION};

/// Larger than every file that is rewritten: `/etc/shadow` of a hundred thousand users, the largest module of Python.
const MAX_REWRITTEN_BYTES: u64 = 32 << 20;

/// The template's own rules: `[[finish.drop]]` and `[[finish.keep]]`.
#[derive(Clone, Default, Debug)]
pub struct CustomRules {
    /// Globs of paths to remove, in addition to the rules.
    pub drop: Vec<String>,
    /// Globs of paths to keep as they are, whatever a rule says.
    pub keep: Vec<String>,
}

/// Effects of a clean-up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CleanReport {
    /// Number of changed paths by rule.
    pub rules: BTreeMap<String, u64>,
    /// Number of files whose time was later than the epoch.
    pub clamped: u64,
}

/// A tree that cannot be cleaned.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
pub enum CleanError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] ReadError),
    #[error("the rule {rule:?} would remove {}, which belongs to the package {package}", path.display())]
    #[diagnostic(help("keep it: `[[finish.keep]] path = \"{}\"`", path.display()))]
    Owned {
        rule: String,
        path: PathBuf,
        package: String,
    },
    #[error("{} has {size} bytes, too many for a file of its kind", path.display())]
    #[diagnostic(help(
        "check the program that wrote it, or keep it as it is with `[[finish.keep]]`"
    ))]
    TooLarge { path: PathBuf, size: u64 },
}

/// Returns the digest of the table of rules, for the manifest.
#[must_use]
pub(crate) fn digest() -> Digest {
    let table = (VERSION, &*RULES);
    Digest::of(&canonical::to_bytes(&table).expect("text and small numbers have a canonical form"))
}

/// Cleans a tree, and clamps every time later than `epoch` (seconds since 1970).
///
/// # Errors
/// See [`CleanError`].
pub fn clean(
    tree: &mut Tree,
    files: &dyn FileSystem,
    owned: &Owners,
    epoch: i64,
    own: &CustomRules,
) -> Result<CleanReport, CleanError> {
    let mut cleaner = Cleaner {
        tree,
        files,
        owned,
        epoch,
        cleaned: CleanReport::default(),
    };
    cleaner.apply_all(own, |_, _, done| done)?;
    cleaner.clamp()?;
    Ok(cleaner.cleaned)
}

/// Returns the changes that the rules would still make to a tree, sorted by path; a clean tree has none. Entries of a directory
/// that would be removed are not listed, nor are files of packages.
///
/// The epoch is the newest time in the tree, so that only times later than all files count as traces of the build.
///
/// # Errors
/// A file cannot be read.
pub fn leftovers(
    tree: &Tree,
    files: &dyn FileSystem,
    owned: &Owners,
) -> Result<Vec<Leftover>, CleanError> {
    let newest = tree
        .paths()
        .map(|(_, file)| tree.files()[file].mtime.seconds);
    let epoch = newest.max().unwrap_or(0);
    let mut tree = tree.clone();
    let mut cleaner = Cleaner {
        tree: &mut tree,
        files,
        owned,
        epoch,
        cleaned: CleanReport::default(),
    };
    let mut found: Vec<Leftover> = Vec::new();
    cleaner.apply_all(&CustomRules::default(), |rule, path, done| match done {
        Ok(true) => {
            let path = path.into();
            found.push(Leftover { path, rule });
            Ok(true)
        }
        Err(CleanError::Owned { .. }) => Ok(false),
        other => other,
    })?;
    found.sort();
    let all: HashSet<Box<[u8]>> = found.iter().map(|left| left.path.clone()).collect();
    found.retain(|left| {
        let path = &left.path;
        let is_listed = |at| path[at] == b'/' && all.contains(&path[..at]);
        !(0..path.len()).any(is_listed)
    });
    Ok(found)
}

/// A change that a rule would still make.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Leftover {
    /// Path in the tree.
    pub path: Box<[u8]>,
    /// Id of the rule.
    pub rule: &'static str,
}

/// A glob with its literal prefix, which spares most of the matching.
struct Glob<'a> {
    pattern: &'a str,
    /// Matches everything below a match of the pattern.
    below: String,
    prefix: &'a str,
}

impl<'a> Glob<'a> {
    fn new(pattern: &'a str) -> Self {
        let wildcard = pattern.find(['*', '?', '[', '{', '\\']);
        Self {
            pattern,
            below: format!("{pattern}/**"),
            prefix: wildcard.map_or(pattern, |at| &pattern[..at]),
        }
    }

    /// Returns whether the glob matches the path itself.
    fn matches(&self, path: &[u8]) -> bool {
        path.starts_with(self.prefix.as_bytes()) && fast_glob::glob_match(self.pattern, path)
    }

    /// Returns whether the glob matches the path or a directory above it.
    fn covers(&self, path: &[u8]) -> bool {
        self.matches(path)
            || (path.starts_with(self.prefix.as_bytes())
                && fast_glob::glob_match(&self.below, path))
    }

    fn applies(&self, path: &[u8], action: &Action) -> bool {
        match action {
            Action::Remove => self.covers(path),
            _ => self.matches(path),
        }
    }
}

struct Cleaner<'a> {
    tree: &'a mut Tree,
    files: &'a dyn FileSystem,
    owned: &'a Owners,
    epoch: i64,
    cleaned: CleanReport,
}

impl Cleaner<'_> {
    /// Applies every rule to every path that it matches. `watch` sees each result, and can replace it.
    fn apply_all(
        &mut self,
        own: &CustomRules,
        mut watch: impl FnMut(&'static str, &[u8], Result<bool, CleanError>) -> Result<bool, CleanError>,
    ) -> Result<(), CleanError> {
        let drop: Vec<_> = own.drop.iter().map(|glob| Glob::new(glob)).collect();
        let keep: Vec<_> = own.keep.iter().map(|glob| Glob::new(glob)).collect();
        let globs = |rule: &'static Rule| rule.paths.iter().map(|glob| Glob::new(glob)).collect();
        let table: Vec<(&Rule, Vec<Glob<'_>>)> =
            RULES.iter().map(|rule| (rule, globs(rule))).collect();
        let mut path = Vec::new();
        // From the end, so that the entries of a directory come before it.
        for number in (0..self.tree.numbers()).rev() {
            path.clear();
            match self.tree.path(number) {
                Some(bytes) => path.extend(bytes),
                None => continue,
            }
            let path = path.as_slice();
            if keep.iter().any(|glob| glob.covers(path)) {
                continue;
            }
            for (rule, globs) in &table {
                if globs.iter().any(|glob| glob.applies(path, &rule.action)) {
                    let done = self.apply(&rule.id, &rule.action, path);
                    if watch(&rule.id, path, done)? {
                        break;
                    }
                }
            }
            if drop.iter().any(|glob| glob.covers(path)) {
                self.apply("finish.drop", &Action::Remove, path)?;
            }
        }
        Ok(())
    }

    /// Applies a rule to a path that it matches. Returns whether it changed anything.
    fn apply(&mut self, rule: &str, action: &Action, path: &[u8]) -> Result<bool, CleanError> {
        let Some(index) = self.tree.find(path) else {
            return Ok(false);
        };
        let file = &self.tree.files()[index];
        let (kind, size) = (file.kind, file.content.size());
        let done = match action {
            Action::Remove if kind == FileType::Directory => {
                // Directories of packages, and directories with entries that are kept, are kept too.
                let is_removable =
                    self.owned.package_of(path).is_none() && !self.tree.has_children(path);
                is_removable && self.tree.remove(path)
            }
            Action::RemoveFile if kind != FileType::File => false,
            Action::Remove | Action::RemoveFile => {
                self.check_owner(rule, path)?;
                self.tree.remove(path)
            }
            Action::Empty if kind == FileType::File && size > 0 => {
                self.check_owner(rule, path)?;
                self.put(index, Vec::new());
                true
            }
            Action::Unlink(name) => {
                let matches =
                    matches!(&file.content, Content::Link(target) if ends_in(target, name));
                matches && self.tree.remove(path)
            }
            Action::RemoveSocket => kind == FileType::Socket && self.tree.remove(path),
            Action::ShadowDays if kind == FileType::File => {
                let epoch = self.epoch;
                self.rewrite(path, index, |text| rewrite::shadow_days(text, epoch))?
            }
            Action::UpdateStamp if kind == FileType::File => {
                let usr = self.usr_time();
                self.rewrite(path, index, |text| rewrite::update_stamp(text, usr))?
            }
            Action::Empty | Action::ShadowDays | Action::UpdateStamp => false,
        };
        if done {
            *self.cleaned.rules.entry(rule.to_owned()).or_default() += 1;
        }
        Ok(done)
    }

    fn check_owner(&self, rule: &str, path: &[u8]) -> Result<(), CleanError> {
        match self.owned.package_of(path) {
            None => Ok(()),
            Some(package) => Err(CleanError::Owned {
                rule: rule.to_owned(),
                path: to_path(path),
                package: package.to_owned(),
            }),
        }
    }

    /// Replaces the content of a file, unless `change` returns `None`.
    fn rewrite(
        &mut self,
        path: &[u8],
        index: usize,
        change: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<bool, CleanError> {
        let changed = change(&content(self.tree, self.files, path, index)?);
        let is_changed = changed.is_some();
        if let Some(bytes) = changed {
            self.put(index, bytes);
        }
        Ok(is_changed)
    }

    /// Returns the time that `/usr` will have.
    fn usr_time(&self) -> Time {
        let usr = self.tree.find(b"/usr");
        let time = usr.map_or(Time::from_seconds(self.epoch), |usr| {
            self.tree.files()[usr].mtime
        });
        clamped(time, self.epoch)
    }

    fn put(&mut self, index: usize, bytes: Vec<u8>) {
        if let Some(file) = self.tree.file_mut(index) {
            file.content = Content::Bytes(bytes);
        }
    }

    /// Clamps all times. Compiled Python follows the times of its sources, or Python would compile them again at every start.
    fn clamp(&mut self) -> Result<(), CleanError> {
        let stale = python::compiled_after(self.tree, self.files, self.epoch)?;
        for (index, bytes) in stale {
            self.put(index, bytes);
        }
        for index in 0..self.tree.files().len() {
            let Some(file) = self.tree.file_mut(index) else {
                continue;
            };
            if file.mtime != clamped(file.mtime, self.epoch) {
                file.mtime = clamped(file.mtime, self.epoch);
                self.cleaned.clamped += 1;
            }
        }
        Ok(())
    }
}

/// Returns a time no later than the epoch.
fn clamped(time: Time, epoch: i64) -> Time {
    time.min(Time::from_seconds(epoch))
}

/// Reads the regular file at a path without links; `None` if there is none.
pub(super) fn read_file(
    tree: &Tree,
    files: &dyn FileSystem,
    path: &[u8],
) -> Result<Option<Vec<u8>>, CleanError> {
    let found = tree.find(path);
    let found = found.filter(|index| tree.files()[*index].kind == FileType::File);
    found
        .map(|index| content(tree, files, path, index))
        .transpose()
}

/// Reads all of a file that may be rewritten.
fn content(
    tree: &Tree,
    files: &dyn FileSystem,
    path: &[u8],
    index: usize,
) -> Result<Vec<u8>, CleanError> {
    let content = &tree.files()[index].content;
    let size = content.size();
    if size > MAX_REWRITTEN_BYTES {
        let path = to_path(path);
        return Err(CleanError::TooLarge { path, size });
    }
    let mut bytes = vec![0; to_index(size)];
    content.read_at(files, 0, &mut bytes)?;
    Ok(bytes)
}

fn ends_in(target: &[u8], name: &str) -> bool {
    target.rsplit(|&byte| byte == b'/').next() == Some(name.as_bytes())
}

fn to_path(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(path).into()
}

#[cfg(test)]
mod tests;
