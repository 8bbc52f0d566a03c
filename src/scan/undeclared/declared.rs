//! The declared content of an image. Pure: it reads no files.

use super::observed::ObservedState;
use super::watched_paths;
use crate::record::directory_listing;
use crate::record::lock::Lock;
use crate::record::manifest::{Action, Inputs, Repository};

/// Everything that an image may contain, and its origin.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// State of the base disk.
    pub base: ObservedState,
    /// Packages that the lock file or the template lists.
    pub packages: Vec<DeclaredPackage>,
    /// Files that the template copies.
    pub files: Vec<DeclaredPath>,
    /// Globs of files that steps create, and accounts as `user:app` and `group:app`.
    pub creates: Vec<DeclaredPath>,
    /// Names of the package sources that the image keeps, with their URIs.
    pub repositories: Vec<(String, String)>,
}

/// A package from the lock file; from the template where the lock file is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredPackage {
    pub name: String,
    /// Version and architecture from the lock file.
    pub exact: Option<(String, String)>,
}

/// A path or glob, and its declaration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredPath {
    /// An absolute path; a glob in `creates`.
    pub path: String,
    /// The part of the template that declares it, for messages.
    pub by: String,
}

impl Declared {
    /// Collects what the inputs of an image declare on top of its base.
    #[must_use]
    pub fn new(base: ObservedState, lock: Option<&Lock>, inputs: &Inputs) -> Self {
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
        let kept = apt.chain(dnf).filter(|repository| repository.keep);
        let named = |kept: &Repository| (kept.name.clone(), kept.uri.clone());
        declared.repositories = kept.map(named).collect();
        declared
    }

    fn file(&mut self, destination: &str, by: &str) {
        self.files.push(DeclaredPath {
            path: destination.trim_end_matches('/').to_owned(),
            by: by.to_owned(),
        });
    }

    /// Narrows the declaration of a copied directory to the files that it contained, by its
    /// [listing](crate::record::directory_listing).
    pub fn narrow(&mut self, destination: &str, listing: &[u8]) {
        let destination = destination.trim_end_matches('/');
        let mut files = self.files.iter();
        let Some(at) = files.position(|file| file.path == destination) else {
            return;
        };
        let by = self.files.remove(at).by;
        let listed = directory_listing::listed(listing).flatten();
        let files = listed.filter(|listed| listed.digest.is_some());
        self.files.extend(files.map(|file| DeclaredPath {
            path: format!("{destination}/{}", file.path.display()),
            by: by.clone(),
        }));
    }

    /// Returns the declaration of a path.
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

    /// Returns whether a step declares a user.
    #[must_use]
    pub fn user(&self, name: &str) -> bool {
        self.account("user", name)
    }

    /// Returns whether a step declares a group, or a member of one as `adm/app`. A user implies a group of the same name.
    #[must_use]
    pub fn group(&self, name: &str) -> bool {
        self.account("group", name) || self.account("user", name)
    }

    fn account(&self, kind: &str, name: &str) -> bool {
        let mut paths = self.creates.iter().map(|declared| &declared.path);
        paths.any(|path| path.split_once(':') == Some((kind, name)))
    }

    /// Returns the declaration that is nearest to a path: in the same directory, or below a common directory that is not a
    /// standard one.
    #[must_use]
    pub fn nearest(&self, path: &str) -> Option<&DeclaredPath> {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let near = |declared: &&DeclaredPath| {
            let literal = declared.path.split(['*', '?', '[', '{']).next();
            let shared = shared(path, literal.unwrap_or_default());
            let mut standard = watched_paths::PLACES.iter().flat_map(|place| &place.below);
            let below_standard = standard.any(|directory| {
                let rest = shared.strip_prefix(directory);
                rest.is_some_and(|rest| rest.starts_with('/'))
            });
            below_standard || (!shared.is_empty() && shared == above)
        };
        let all = self.files.iter().chain(&self.creates);
        all.filter(near)
            .max_by_key(|declared| shared(path, &declared.path).len())
    }
}

/// Returns the deepest directory that two paths have in common.
fn shared<'p>(path: &'p str, other: &str) -> &'p str {
    let pairs = path.split('/').zip(other.split('/'));
    let same = pairs.take_while(|(one, other)| one == other);
    // Each part with its slash, including the empty part before the first.
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
