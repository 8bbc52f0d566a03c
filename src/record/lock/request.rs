//! The request of a lock file: the part of a plan that a resolution depends on.

use serde::{Deserialize, Serialize};

use super::{LockedBase, SCHEMA};
use crate::digest::Digest;

/// Package manager of a distribution.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Package manager of Debian and Ubuntu.
    Apt,
    /// Package manager of RPM distributions.
    Dnf,
}

/// Packages that a template declares.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRequest {
    /// Package manager; `None` if no packages are declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<Manager>,
    /// Architecture of the image; `None` for an existing host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Packages to install, as declared.
    #[serde(default)]
    pub install: Vec<String>,
    /// Packages to remove, as declared.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Installs recommended packages, too.
    #[serde(default)]
    pub recommends: bool,
    /// Package repositories of the template, in order.
    #[serde(default, rename = "repository", skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
}

/// A package repository of the template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Name in the template.
    pub name: String,
    /// URI of the repository.
    pub uri: String,
    /// Suites to read packages from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Components of the suites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// SHA-256 of its key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Allows the repository to be unsigned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted: bool,
}

impl PackageRequest {
    /// Returns the request of a template without packages.
    #[must_use]
    pub fn nothing(architecture: Option<&str>) -> Self {
        Self {
            architecture: architecture.map(str::to_owned),
            ..Self::default()
        }
    }

    /// Returns whether no packages are declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.manager.is_none()
    }

    /// Returns the digest of the request and the base: of everything that a resolution depends on.
    ///
    /// # Panics
    /// Never: JSON can represent the fields.
    #[must_use]
    pub fn digest(&self, base: Option<&LockedBase>) -> Digest {
        let all = serde_json::to_vec(&(SCHEMA, self, base));
        Digest::of(&all.expect("the fields are text, numbers and lists of them"))
    }

    /// Returns the differences between this request and a newer one, one line each.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.manager != now.manager {
            lines.push("the package manager has changed".to_owned());
        }
        if self.architecture != now.architecture {
            let show = |arch: &Option<String>| arch.clone().unwrap_or_else(|| "none".to_owned());
            let (was, is) = (show(&self.architecture), show(&now.architecture));
            lines.push(format!("the architecture was {was} and is {is}"));
        }
        lines.extend(list_changes("install", &self.install, &now.install));
        lines.extend(list_changes("remove", &self.remove, &now.remove));
        if self.recommends != now.recommends {
            lines.push(format!("`recommends` is now {}", now.recommends));
        }
        lines.extend(repository_changes(&self.repositories, &now.repositories));
        if lines.is_empty() && self != now {
            lines.push("the repositories are in another order".to_owned());
        }
        lines
    }
}

/// Returns the repositories that were added, removed or changed. A name may be used more than once.
fn repository_changes(was: &[Repository], is: &[Repository]) -> Vec<String> {
    let called = |all: &[Repository], name: &str| -> Vec<Repository> {
        let same = all.iter().filter(|repository| repository.name == name);
        same.cloned().collect()
    };
    let mut names: Vec<&str> = Vec::new();
    for repository in was.iter().chain(is) {
        if !names.contains(&repository.name.as_str()) {
            names.push(&repository.name);
        }
    }
    let changes = names.into_iter().filter_map(|name| {
        let change = match (called(was, name), called(is, name)) {
            (was, is) if was == is => return None,
            (was, _) if was.is_empty() => "is new",
            (_, is) if is.is_empty() => "was removed",
            _ => "has changed",
        };
        Some(format!("the repository `{name}` {change}"))
    });
    changes.collect()
}

/// Returns the words that were added to a list or removed from it.
fn list_changes(key: &str, was: &[String], is: &[String]) -> Vec<String> {
    let only_in = |one: &[String], other: &[String]| {
        let words = one.iter().filter(|word| !other.contains(word)).cloned();
        words.collect::<Vec<_>>().join(", ")
    };
    let (more, fewer) = (only_in(is, was), only_in(was, is));
    let mut lines = Vec::new();
    if !more.is_empty() {
        lines.push(format!("`{key}` has {more}, but the lock file does not"));
    }
    if !fewer.is_empty() {
        lines.push(format!(
            "the lock file has `{key}` {fewer}, but the template does not"
        ));
    }
    if lines.is_empty() && was != is {
        lines.push(format!("`{key}` is in another order"));
    }
    lines
}
