//! What a lock answers: the part of a plan that a resolution depends on, in a form that can be compared line by line.

use serde::{Deserialize, Serialize};

use super::{Base, SCHEMA};
use crate::digest::Digest;

/// A package manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Debian's.
    Apt,
    /// Of RPM's distributions.
    Dnf,
}

/// What is asked of the package manager.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who is asked; none when nothing is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<Manager>,
    /// The machine's architecture; none for an existing host, which has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Packages to install, as declared.
    #[serde(default)]
    pub install: Vec<String>,
    /// Packages to remove.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Whether recommended packages are wanted.
    #[serde(default)]
    pub recommends: bool,
    /// Package sources of the template, in its order.
    #[serde(default, rename = "repository", skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
}

/// A package source of the template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// Its suites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Their components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// SHA-256 of its key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Believed without a signature.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted: bool,
}

impl Request {
    /// What a template without packages asks.
    #[must_use]
    pub fn nothing(architecture: Option<&str>) -> Self {
        Self {
            manager: None,
            architecture: architecture.map(str::to_owned),
            install: Vec::new(),
            remove: Vec::new(),
            recommends: false,
            repositories: Vec::new(),
        }
    }

    /// Whether there is anything to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.manager.is_none()
    }

    /// Digest of everything that the answer depends on.
    ///
    /// # Panics
    /// Never: its fields can be written.
    #[must_use]
    pub fn digest(&self, base: Option<&Base>) -> Digest {
        let all = serde_json::to_vec(&(SCHEMA, self, base));
        Digest::of(&all.expect("the fields are text, numbers and lists of them"))
    }

    /// What has changed from this request to another, one line each.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.manager != now.manager {
            lines.push("the package manager is another one".to_owned());
        }
        if self.architecture != now.architecture {
            let show = |arch: &Option<String>| arch.clone().unwrap_or_else(|| "none".to_owned());
            let (was, is) = (show(&self.architecture), show(&now.architecture));
            lines.push(format!("the architecture was {was} and is {is}"));
        }
        lines.extend(list("install", &self.install, &now.install));
        lines.extend(list("remove", &self.remove, &now.remove));
        if self.recommends != now.recommends {
            lines.push(format!("`recommends` is {} now", now.recommends));
        }
        let of_name = |all: &[Repository], name: &str| -> Vec<Repository> {
            let same = all.iter().filter(|repository| repository.name == name);
            same.cloned().collect()
        };
        let mut names: Vec<&str> = Vec::new();
        for repository in self.repositories.iter().chain(&now.repositories) {
            if !names.contains(&repository.name.as_str()) {
                names.push(&repository.name);
            }
        }
        for name in names {
            let what = match (
                of_name(&self.repositories, name),
                of_name(&now.repositories, name),
            ) {
                (was, is) if was == is => continue,
                (was, _) if was.is_empty() => "is new",
                (_, is) if is.is_empty() => "is gone",
                _ => "has changed",
            };
            lines.push(format!("the repository `{name}` {what}"));
        }
        if lines.is_empty() && self != now {
            lines.push("the repositories are in another order".to_owned());
        }
        lines
    }
}

/// What came into a list and what went out of it.
fn list(key: &str, was: &[String], is: &[String]) -> Vec<String> {
    let only_in = |one: &[String], other: &[String]| {
        let words = one.iter().filter(|word| !other.contains(word)).cloned();
        words.collect::<Vec<_>>().join(", ")
    };
    let (more, fewer) = (only_in(is, was), only_in(was, is));
    let mut lines = Vec::new();
    if !more.is_empty() {
        lines.push(format!("`{key}` has {more}, and the lock has not"));
    }
    if !fewer.is_empty() {
        lines.push(format!(
            "the lock has `{key}` {fewer}, and the template has not"
        ));
    }
    if lines.is_empty() && was != is {
        lines.push(format!("`{key}` is in another order"));
    }
    lines
}
