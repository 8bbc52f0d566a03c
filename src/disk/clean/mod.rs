//! Takes out of a tree what a machine writes about itself, by one table of [rules], and clamps its times.
//!
//! What is left depends on the template and its lock, not on the day, the host or the run. Nothing that the package
//! database has is ever taken away.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::read::{FileSystem, Kind, ReadError, Time};
use super::tree::{Content, Tree};
use crate::digest::Digest;
use crate::record::canonical;

mod owned;
mod python;
mod rewrite;
pub(crate) mod rules;

pub use owned::Owners;
use rules::{Action, RULES, Rule, VERSION};

/// More of a file than any that is rewritten has: `/etc/shadow` of a hundred thousand users, the largest module of Python.
const LARGEST: u64 = 32 << 20;

/// What only the author of a template knows: `[[finish.drop]]` and `[[finish.keep]]`.
#[derive(Clone, Default, Debug)]
pub struct Own {
    /// Globs of what goes, besides what the rules name.
    pub drop: Vec<String>,
    /// Globs of what stays as it is, whatever a rule says.
    pub keep: Vec<String>,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cleaned {
    /// For each rule that did something, on how many paths.
    pub rules: BTreeMap<String, u64>,
    /// How many files had a time later than the epoch.
    pub clamped: u64,
}

/// Why a tree cannot be cleaned.
#[derive(Debug, Error, Diagnostic)]
pub enum CleanError {
    /// The disk cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] ReadError),
    /// A rule would take away what a package has.
    #[error("the rule {rule:?} would take {} away, which belongs to the package {package}", path.display())]
    #[diagnostic(help("keep it: `[[finish.keep]] path = \"{}\"`", path.display()))]
    Owned {
        /// The rule.
        rule: String,
        /// The file.
        path: PathBuf,
        /// Its package.
        package: String,
    },
    /// A file that has to be rewritten is far larger than any of its kind.
    #[error("{} has {size} bytes, more than any file of its kind", path.display())]
    #[diagnostic(help("look at what wrote it; `[[finish.keep]]` leaves it as it is"))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
}

/// The digest of the table of rules, for the manifest.
///
/// # Panics
/// Never: the table holds text and small numbers, which have a canonical form.
#[must_use]
pub fn digest() -> Digest {
    let table = (VERSION, RULES);
    Digest::of(&canonical::to_bytes(&table).expect("the table holds text and small numbers"))
}

/// Cleans a tree, and clamps every time that is later than `epoch` (seconds since 1970). `owned` is what its packages have.
///
/// # Errors
/// See [`CleanError`].
pub fn clean(
    tree: &mut Tree,
    files: &dyn FileSystem,
    owned: &Owners,
    epoch: i64,
    own: &Own,
) -> Result<Cleaned, CleanError> {
    let mut cleaner = Cleaner {
        tree,
        files,
        owned,
        epoch,
        cleaned: Cleaned::default(),
    };
    cleaner.apply_all(own, |_, _, done| done)?;
    cleaner.clamp()?;
    Ok(cleaner.cleaned)
}

/// What the rules would still do to a tree: the proof that it is clean, or that it is not. In order of path; what is in a
/// directory that would go is not listed besides it. What a package has is no left-over.
///
/// The epoch is the newest time that anything in the tree has, so that only what is newer than all files counts as the
/// build's day.
///
/// # Errors
/// It cannot be read.
pub fn left_over(
    tree: &Tree,
    files: &dyn FileSystem,
    owned: &Owners,
) -> Result<Vec<LeftOver>, CleanError> {
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
        cleaned: Cleaned::default(),
    };
    let mut found: Vec<LeftOver> = Vec::new();
    cleaner.apply_all(&Own::default(), |rule, path, done| match done {
        Ok(true) => {
            let path = path.into();
            found.push(LeftOver { path, rule });
            Ok(true)
        }
        Err(CleanError::Owned { .. }) => Ok(false),
        other => other,
    })?;
    found.sort();
    let all: HashSet<Box<[u8]>> = found.iter().map(|it| it.path.clone()).collect();
    let slashes = |path: &[u8]| -> Vec<usize> {
        let all = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        all.map(|(at, _)| at).collect()
    };
    found.retain(|it| {
        !slashes(&it.path)
            .into_iter()
            .any(|at| all.contains(&it.path[..at]))
    });
    Ok(found)
}

/// Something that a rule would still do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LeftOver {
    /// Where.
    pub path: Box<[u8]>,
    /// The rule's id.
    pub rule: &'static str,
}

/// A pattern; what it begins with spares most of the matching.
struct Glob<'a> {
    pattern: &'a str,
    inside: String,
    start: &'a str,
}

impl<'a> Glob<'a> {
    fn new(pattern: &'a str) -> Self {
        let start = pattern
            .find(['*', '?', '[', '{', '\\'])
            .map_or(pattern, |wild| &pattern[..wild]);
        Self {
            pattern,
            inside: format!("{pattern}/**"),
            start,
        }
    }

    /// Whether it names the path itself.
    fn is(&self, path: &[u8]) -> bool {
        path.starts_with(self.start.as_bytes()) && fast_glob::glob_match(self.pattern, path)
    }

    /// Whether it names the path or a directory that the path is in.
    fn has(&self, path: &[u8]) -> bool {
        self.is(path)
            || (path.starts_with(self.start.as_bytes())
                && fast_glob::glob_match(&self.inside, path))
    }

    fn names(&self, path: &[u8], action: Action) -> bool {
        match action {
            Action::Remove => self.has(path),
            _ => self.is(path),
        }
    }
}

struct Cleaner<'a> {
    tree: &'a mut Tree,
    files: &'a dyn FileSystem,
    owned: &'a Owners,
    epoch: i64,
    cleaned: Cleaned,
}

impl Cleaner<'_> {
    /// Applies every rule to every path that it names. `watch` sees what came of it and may think otherwise of it.
    fn apply_all(
        &mut self,
        own: &Own,
        mut watch: impl FnMut(&'static str, &[u8], Result<bool, CleanError>) -> Result<bool, CleanError>,
    ) -> Result<(), CleanError> {
        // From the end: what is in a directory comes after it, and goes first.
        let drop: Vec<_> = own.drop.iter().map(|glob| Glob::new(glob)).collect();
        let keep: Vec<_> = own.keep.iter().map(|glob| Glob::new(glob)).collect();
        let globs = |rule: &'static Rule| rule.paths.iter().map(|glob| Glob::new(glob)).collect();
        let table: Vec<(&Rule, Vec<Glob<'_>>)> =
            RULES.iter().map(|rule| (rule, globs(rule))).collect();
        let mut path = Vec::new();
        for number in (0..self.tree.numbers()).rev() {
            path.clear();
            match self.tree.path(number) {
                Some(there) => path.extend(there),
                None => continue,
            }
            let path = path.as_slice();
            if keep.iter().any(|glob| glob.has(path)) {
                continue;
            }
            for (rule, globs) in &table {
                if globs.iter().any(|glob| glob.names(path, rule.action)) {
                    let done = self.apply(rule.id, rule.action, path);
                    if watch(rule.id, path, done)? {
                        break;
                    }
                }
            }
            if drop.iter().any(|glob| glob.has(path)) {
                self.apply("finish.drop", Action::Remove, path)?;
            }
        }
        Ok(())
    }

    /// Does what a rule says to a path that it names. False when there is nothing for it to do.
    fn apply(&mut self, rule: &str, action: Action, path: &[u8]) -> Result<bool, CleanError> {
        let Some(index) = self.tree.find(path) else {
            return Ok(false);
        };
        let file = &self.tree.files()[index];
        let (kind, size) = (file.kind, file.content.size());
        let done = match action {
            Action::Remove if kind == Kind::Directory => {
                // A package's own directory, or one with something in it that stays, stays too.
                let goes = self.owned.of(path).is_none() && !self.tree.has_children(path);
                goes && self.tree.remove(path)
            }
            Action::RemoveFile if kind != Kind::File => false,
            Action::Remove | Action::RemoveFile => {
                self.check_owner(rule, path)?;
                self.tree.remove(path)
            }
            Action::Empty if kind == Kind::File && size > 0 => {
                self.check_owner(rule, path)?;
                self.put(index, Vec::new());
                true
            }
            Action::Unlink(name) => {
                let leads = matches!(&file.content, Content::Link(target) if ends_in(target, name));
                leads && self.tree.remove(path)
            }
            Action::RemoveSocket => kind == Kind::Socket && self.tree.remove(path),
            Action::ShadowDays if kind == Kind::File => {
                self.rewrite(path, index, |text, epoch, _| {
                    rewrite::shadow_days(text, epoch)
                })?
            }
            Action::UpdateStamp if kind == Kind::File => {
                self.rewrite(path, index, rewrite::update_stamp)?
            }
            Action::Empty | Action::ShadowDays | Action::UpdateStamp => false,
        };
        if done {
            *self.cleaned.rules.entry(rule.to_owned()).or_default() += 1;
        }
        Ok(done)
    }

    fn check_owner(&self, rule: &str, path: &[u8]) -> Result<(), CleanError> {
        match self.owned.of(path) {
            None => Ok(()),
            Some(package) => Err(CleanError::Owned {
                rule: rule.to_owned(),
                path: shown(path),
                package: package.to_owned(),
            }),
        }
    }

    /// Gives a file other bytes. `change` gets its text, the epoch, and the time that `/usr` gets.
    fn rewrite(
        &mut self,
        path: &[u8],
        index: usize,
        change: impl FnOnce(&[u8], i64, Time) -> Option<Vec<u8>>,
    ) -> Result<bool, CleanError> {
        let bytes = content(self.tree, self.files, path, index)?;
        let usr = self
            .tree
            .find(b"/usr")
            .map(|usr| self.tree.files()[usr].mtime);
        let usr = clamped(
            usr.unwrap_or(Time {
                seconds: self.epoch,
                nanoseconds: 0,
            }),
            self.epoch,
        );
        let Some(changed) = change(&bytes, self.epoch, usr) else {
            return Ok(false);
        };
        self.put(index, changed);
        Ok(true)
    }

    fn put(&mut self, index: usize, bytes: Vec<u8>) {
        if let Some(file) = self.tree.file_mut(index) {
            file.content = Content::Bytes(bytes);
        }
    }

    /// Clamps all times; compiled Python follows the times of its sources, or it would be compiled again at every start.
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

/// No later than the epoch.
fn clamped(time: Time, epoch: i64) -> Time {
    if (time.seconds, time.nanoseconds) > (epoch, 0) {
        return Time {
            seconds: epoch,
            nanoseconds: 0,
        };
    }
    time
}

/// All of a file, when it is no larger than such a file may be.
fn content(
    tree: &Tree,
    files: &dyn FileSystem,
    path: &[u8],
    index: usize,
) -> Result<Vec<u8>, CleanError> {
    match &tree.files()[index].content {
        Content::None => Ok(Vec::new()),
        Content::Bytes(bytes) | Content::Link(bytes) => Ok(bytes.clone()),
        Content::Inode { size, .. } if *size > LARGEST => Err(CleanError::TooLarge {
            path: shown(path),
            size: *size,
        }),
        Content::Inode { inode, size } => {
            let mut bytes = vec![0; usize::try_from(*size).expect("checked: it is small")];
            files.read_at(*inode, 0, &mut bytes)?;
            Ok(bytes)
        }
    }
}

fn ends_in(target: &[u8], name: &str) -> bool {
    target.rsplit(|&byte| byte == b'/').next() == Some(name.as_bytes())
}

fn shown(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(path).into()
}

#[cfg(test)]
mod tests;
