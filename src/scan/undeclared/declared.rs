//! What somebody has declared. A plain value: it reads nothing.

use super::observed::Facts;
use super::watched_paths;
use crate::record::directory_listing;
use crate::record::lock::Lock;
use crate::record::manifest::{Action, Inputs, Repository};

/// Everything that an image may have, and why.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// What the disk had that it was made from.
    pub base: Facts,
    /// Packages that were to be installed.
    pub packages: Vec<DeclaredPackage>,
    /// Files that were put in place.
    pub files: Vec<DeclaredPath>,
    /// Globs of what steps make, and accounts as `user:app` and `group:app`.
    pub creates: Vec<DeclaredPath>,
    /// Sources of packages that stay, with the URIs that they may have.
    pub repositories: Vec<(String, String)>,
}

/// A package, as the lock has it, or only by name where there is no lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredPackage {
    /// Its name.
    pub name: String,
    /// Version and architecture.
    pub exact: Option<(String, String)>,
}

/// A path or glob with what declares it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredPath {
    /// Absolute; a glob in `creates`.
    pub path: String,
    /// As a reader of the template knows it.
    pub by: String,
}

impl Declared {
    /// What the inputs of an image declare, on top of what its base had.
    #[must_use]
    pub fn new(base: Facts, lock: Option<&Lock>, inputs: &Inputs) -> Self {
        let mut declared = Self {
            base,
            packages: packages(lock, inputs),
            ..Self::default()
        };
        for file in &inputs.files {
            declared.file(&file.destination, "`[[files]]`");
        }
        for step in &inputs.steps {
            if let Action::File(file) = &step.action {
                declared.file(&file.destination, &format!("the step {:?}", step.name));
            }
            for glob in &step.creates {
                declared.creates.push(DeclaredPath {
                    path: glob.clone(),
                    by: format!("`creates` of the step {:?}", step.name),
                });
            }
        }
        let apt = inputs.packages.apt.iter().flat_map(|apt| &apt.repositories);
        let dnf = inputs.packages.dnf.iter().flat_map(|dnf| &dnf.repositories);
        let kept = apt.chain(dnf).filter(|it| it.keep);
        let named = |it: &Repository| (it.name.clone(), it.uri.clone());
        declared.repositories = kept.map(named).collect();
        declared
    }

    fn file(&mut self, destination: &str, by: &str) {
        self.files.push(DeclaredPath {
            path: destination.trim_end_matches('/').to_owned(),
            by: by.to_owned(),
        });
    }

    /// Says what is in a directory that was put in place as a whole (a [listing](crate::record::directory_listing)), so
    /// that it declares that and nothing else below it.
    pub fn narrow(&mut self, destination: &str, listing: &[u8]) {
        let destination = destination.trim_end_matches('/');
        let of = |it: &DeclaredPath| it.path == destination;
        let Some(at) = self.files.iter().position(of) else {
            return;
        };
        let by = self.files.remove(at).by;
        let files = directory_listing::listed(listing).flatten();
        let files = files.filter(|it| it.digest.is_some());
        self.files.extend(files.map(|it| DeclaredPath {
            path: format!("{destination}/{}", it.path.display()),
            by: by.clone(),
        }));
    }

    /// What declares a path, `None` for nothing.
    #[must_use]
    pub fn path(&self, path: &str) -> Option<&DeclaredPath> {
        let file = self.files.iter().find(|file| {
            let rest = path.strip_prefix(file.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let glob = |glob: &&DeclaredPath| {
            let inside = format!("{}/**", glob.path.trim_end_matches('/'));
            fast_glob::glob_match(&glob.path, path) || fast_glob::glob_match(inside, path)
        };
        file.or_else(|| self.creates.iter().find(glob))
    }

    /// Whether a step declares a user.
    #[must_use]
    pub fn user(&self, name: &str) -> bool {
        self.account("user", name)
    }

    /// Whether a step declares a group, or (`adm/app`) a member of one; a user's own group comes with it.
    #[must_use]
    pub fn group(&self, name: &str) -> bool {
        self.account("group", name) || self.account("user", name)
    }

    fn account(&self, kind: &str, name: &str) -> bool {
        let is = |it: &DeclaredPath| it.path.split_once(':') == Some((kind, name));
        self.creates.iter().any(is)
    }

    /// What is declared nearest to a path: in the same directory, or below one that the two share and that is not a
    /// place of the system's own.
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<&DeclaredPath> {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let near = |it: &&DeclaredPath| {
            let literal = it
                .path
                .split(['*', '?', '[', '{'])
                .next()
                .unwrap_or_default();
            let shared = shared(path, literal);
            let own = watched_paths::PLACES.iter().any(|place| {
                place.below.iter().any(|below| {
                    let rest = shared.strip_prefix(below);
                    rest.is_some_and(|rest| rest.starts_with('/'))
                })
            });
            own || (!shared.is_empty() && shared == above)
        };
        let all = self.files.iter().chain(&self.creates);
        all.filter(near)
            .max_by_key(|it| shared(path, &it.path).len())
    }
}

/// The directory that two paths share.
fn shared<'p>(path: &'p str, other: &str) -> &'p str {
    let pairs = path.split('/').zip(other.split('/'));
    let same = pairs.take_while(|(one, other)| one == other);
    // Each with the slash before it, and the empty part before the first.
    let length: usize = same.map(|(part, _)| part.len() + 1).sum();
    let shared = &path[..length.saturating_sub(1).min(path.len())];
    if shared == path {
        return path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    shared
}

fn packages(lock: Option<&Lock>, inputs: &Inputs) -> Vec<DeclaredPackage> {
    if let Some(lock) = lock {
        let exact = lock.packages.iter().map(|package| DeclaredPackage {
            name: package.name.clone(),
            exact: Some((package.version.clone(), package.architecture.clone())),
        });
        return exact.collect();
    }
    let apt = inputs.packages.apt.iter().flat_map(|apt| &apt.install);
    let dnf = inputs.packages.dnf.iter().flat_map(|dnf| &dnf.install);
    let name = |written: &String| DeclaredPackage {
        name: written
            .split(['=', ':'])
            .next()
            .unwrap_or_default()
            .to_owned(),
        exact: None,
    };
    apt.chain(dnf).map(name).collect()
}
