//! Changes between the installation of the packages and the finished image: everything that files and steps did.
//!
//! The host reads both trees offline, so nothing in the image tells what to look at. Times do not count.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::declared::DeclaredPath;
use super::explain::is_alike;
use super::paths::FILES;
use super::{Compare, MAX_FILE_BYTES, ScanError, Severity, Undeclared, watched_paths};
use crate::disk::tree::{Content, Listing, join_listings};
use crate::disk::{CleanedTree, NormalizeRequest, change_times};
use crate::embedded::rows;
use crate::record::explanation::Cause;

mod accounts;
mod change;
mod times;

pub(crate) use accounts::ACCOUNT_FILES;
use change::{Change, ChangeKind, Group, grouped};
pub(crate) use times::StepTime;
use times::step_at;

const FIX_CHANGED: &str =
    "declare it with `[[files]]`, or with `creates` in the step that changes it";
const FIX_REMOVED: &str =
    "declare it with `creates` in the step that removes it, or with `[[finish.drop]]`";

/// Directories in which services keep their state.
const STATE: [&str; 4] = ["/var/cache/", "/var/lib/", "/var/log/", "/var/spool/"];

/// Files with the keys that let the build log in, and their directories.
const LOGINS: [&str; 2] = [
    "/root/.ssh{,/authorized_keys}",
    "/home/*/.ssh{,/authorized_keys}",
];

/// Directories in which a package manager records what is installed.
const PACKAGE_STATE: [&str; 4] = [
    "/var/lib/dpkg/",
    "/var/lib/apt/",
    "/var/lib/rpm/",
    "/var/lib/dnf/",
];

/// The trees before the first and after the last step, both cleaned.
#[derive(Debug)]
pub(crate) struct StepTrees {
    /// The tree that the packages left, with its [account files](ACCOUNT_FILES).
    pub before: CleanedTree,
    /// Listing of the image.
    pub after: Listing,
    /// Disk of the guest, with the times that the image does not have.
    pub disk: Option<NormalizeRequest>,
    /// Times of the steps; none if these tell nothing.
    pub times: Vec<StepTime>,
}

impl StepTrees {
    /// Returns the steps that were running when paths last changed. A disk that cannot be read again tells nothing.
    fn steps_at(&self, groups: &[Group]) -> HashMap<Vec<u8>, &str> {
        let (Some(disk), false) = (&self.disk, groups.is_empty() || self.times.is_empty()) else {
            return HashMap::new();
        };
        let paths = groups.iter().map(|group| group.change.bytes());
        let changed = change_times(disk, &paths.collect()).unwrap_or_default();
        let steps = changed.into_iter();
        let steps = steps.filter_map(|(path, time)| Some((path, step_at(&self.times, time)?)));
        steps.collect()
    }
}

/// Causes of the paths that steps changed.
pub(super) type StepCauses = HashMap<Vec<u8>, Cause>;

/// Paths that a running system writes: an entry of `running.toml`, which describes the fields.
#[derive(PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunningState {
    paths: Vec<&'static str>,
    reason: &'static str,
}

static RUNNING: LazyLock<Vec<RunningState>> =
    LazyLock::new(|| rows(include_str!("running.toml"), "state"));

impl Compare<'_> {
    /// Reports every change that no declaration explains. Returns the causes of all changed paths.
    pub(super) fn steps(&mut self, trees: &StepTrees) -> Result<StepCauses, ScanError> {
        self.account_lines(&trees.before.texts)?;
        let reported = self.reported();
        let packages = self.undeclared_packages();
        let (mut causes, mut undeclared) = (StepCauses::new(), Vec::new());
        for change in join_listings(&trees.before.listing, &trees.after).filter_map(Change::of) {
            let cause = match self.cause_of(&change, &packages) {
                None if self.enables(&change)? => Some(Cause::Enabled),
                None if self.is_login_of_base(&change)? => Some(Cause::Base),
                cause => cause,
            };
            causes.insert(
                change.bytes().to_vec(),
                cause.clone().unwrap_or(Cause::Undeclared),
            );
            if cause.is_none() {
                undeclared.push(change);
            }
        }
        let groups = grouped(undeclared);
        let steps = trees.steps_at(&groups);
        for group in &groups {
            if !reported.contains(&group.change.path()) {
                let step = steps.get(group.change.bytes()).copied();
                self.report_change(group, step);
            }
        }
        Ok(causes)
    }

    /// Returns what explains a change. Undeclared packages explain theirs, since they have a finding of their own.
    fn cause_of(&self, change: &Change, packages: &HashSet<String>) -> Option<Cause> {
        let path = change.path();
        let is_running = |state: &RunningState| {
            let mut globs = state.paths.iter();
            globs.any(|glob| fast_glob::glob_match(glob, &path))
        };
        let is_new = matches!(change.kind, ChangeKind::Added);
        let mut declared = self.declared.path(&path);
        if is_new && change.is_directory() {
            declared = declared.or_else(|| self.declared_below(&path));
        }
        if let Some(declared) = declared {
            let by = declared.by.clone();
            Some(Cause::Declared { by })
        } else if RUNNING.iter().any(is_running) || self.is_state_directory(change) {
            Some(Cause::Running)
        } else if ACCOUNT_FILES.contains(&&*path) && change.is_content_only() {
            Some(Cause::Accounts)
        } else if self.is_of_package(change.bytes(), packages) {
            Some(Cause::Undeclared)
        } else {
            None
        }
    }

    /// Returns whether a service has made a directory in the state of its package, as nginx does when its configuration is
    /// checked. A directory does nothing by itself, and what is in it is compared.
    fn is_state_directory(&self, change: &Change) -> bool {
        let path = change.bytes();
        let is_state = STATE.iter().any(|place| path.starts_with(place.as_bytes()));
        let parent = path.iter().rposition(|&byte| byte == b'/');
        is_state
            && matches!(change.kind, ChangeKind::Added)
            && change.is_plain_directory()
            && parent.is_some_and(|slash| self.packaged.owner(&path[..slash]).is_some())
    }

    /// Returns whether a new link enables a unit.
    fn enables(&self, change: &Change) -> Result<bool, ScanError> {
        match self.root.get(change.bytes()).map(|file| &file.content) {
            Some(Content::Link(target)) if matches!(change.kind, ChangeKind::Added) => {
                self.is_enabled(&change.path(), target)
            }
            _ => Ok(false),
        }
    }

    /// Returns whether the keys of an account are those of the base: the clean-up has removed the login of the build.
    fn is_login_of_base(&self, change: &Change) -> Result<bool, ScanError> {
        let path = change.bytes();
        if !LOGINS.iter().any(|glob| fast_glob::glob_match(glob, path)) {
            return Ok(false);
        }
        let (Some(now), Some(before)) = (self.root.get(path), self.base.get(path)) else {
            return Ok(self.root.get(path).is_none() && self.base.get(path).is_none());
        };
        Ok(is_alike(now, before)
            && self.root.content(path, now, MAX_FILE_BYTES)?
                == self.base.content(path, before, MAX_FILE_BYTES)?)
    }

    /// Returns a declared path below a directory.
    fn declared_below(&self, directory: &str) -> Option<&DeclaredPath> {
        let below = format!("{directory}/");
        let mut declared = self.declared.files.iter().chain(&self.declared.creates);
        declared.find(|declared| declared.path.starts_with(&below))
    }

    /// Returns the packages that have a finding.
    fn undeclared_packages(&self) -> HashSet<String> {
        let checks = ["undeclared-package", "undeclared-version"];
        let findings = self.findings.iter();
        let findings = findings.filter(|finding| checks.contains(&&*finding.check));
        findings
            .filter_map(|finding| finding.package.clone())
            .collect()
    }

    /// Returns whether a path changed with one of these packages.
    fn is_of_package(&self, path: &[u8], packages: &HashSet<String>) -> bool {
        let is_state = |place: &&str| path.starts_with(place.as_bytes());
        let owner = self.packaged.owner(path);
        !packages.is_empty()
            && (PACKAGE_STATE.iter().any(is_state)
                || owner.is_some_and(|owner| packages.contains(owner)))
    }

    /// Reports a change, and the step that was running then.
    fn report_change(&mut self, group: &Group, step: Option<&str>) {
        let change = &group.change;
        let path = change.path();
        let (check, what, fix) = match (&change.kind, watched_paths::place_of(change.bytes())) {
            (ChangeKind::Added, Some(place)) => (place.check, place.what, FILES),
            (ChangeKind::Added, None) => ("undeclared-file", "file", FILES),
            (ChangeKind::Removed, _) => ("undeclared-removal", "removal", FIX_REMOVED),
            (ChangeKind::Changed(_), _) => ("undeclared-change", "change", FIX_CHANGED),
        };
        let mut evidence = change.evidence();
        if group.below > 0 {
            evidence = format!("{evidence}, with {} files below it", group.below);
        }
        if let Some(step) = step {
            evidence = format!("{evidence}, while the step {step:?} ran");
        }
        let nearest = self.nearest(&path);
        let item = Undeclared {
            check,
            severity: Severity::High,
            subject: &path,
            title: format!("undeclared {what}"),
            evidence,
            fix,
        };
        self.report(item, nearest);
    }
}
