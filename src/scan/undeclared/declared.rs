//! The declared content of an image. Pure: it reads no files.

use super::observed::ObservedState;
use super::scripts::Acceptable;
use super::{Finding, named_places, watched_paths};
use crate::glob::{alternatives, literal_prefix};
use crate::record::directory_listing;
use crate::record::lock::Lock;
use crate::record::manifest::{Action, File, Inputs, Repository};
use crate::scan::integrity::SETUID_SETGID;

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
    /// Paths that maintainer scripts may make.
    pub acceptable: Acceptable,
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
    /// Rights that the files may have.
    pub rights: Vec<Right>,
}

/// A right that a file has only if its declaration says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    Setuid,
    Capabilities,
    Device,
}

impl Right {
    const ALL: [Self; 3] = [Self::Setuid, Self::Capabilities, Self::Device];

    /// Returns the key in an entry of `creates`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Setuid => "setuid",
            Self::Capabilities => "capabilities",
            Self::Device => "device",
        }
    }
}

impl Declared {
    /// Collects what the inputs of an image declare on top of its base.
    #[must_use]
    pub fn new(base: ObservedState, lock: Option<&Lock>, inputs: &Inputs) -> Self {
        let mut declared = Self {
            base,
            packages: packages(lock, inputs),
            acceptable: Acceptable::new(inputs),
            ..Self::default()
        };
        for file in &inputs.files {
            declared.file(file, "`[[files]]`");
        }
        for step in &inputs.steps {
            if let Action::File(file) = &step.action {
                declared.file(file, &format!("the step {:?}", step.name));
            }
            for created in &step.creates {
                let names: Vec<_> = created.rights().collect();
                let rights = Right::ALL.into_iter();
                declared.creates.push(DeclaredPath {
                    path: created.path.clone(),
                    by: format!("`creates` of the step {:?}", step.name),
                    rights: rights
                        .filter(|right| names.contains(&right.key()))
                        .collect(),
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

    fn file(&mut self, file: &File, by: &str) {
        let mode = file.mode.as_ref();
        let mode = mode.and_then(|mode| u16::from_str_radix(mode, 8).ok());
        let is_setuid = mode.is_some_and(|mode| mode & SETUID_SETGID != 0);
        self.files.push(DeclaredPath {
            path: file.destination.trim_end_matches('/').to_owned(),
            by: by.to_owned(),
            rights: Vec::from_iter(is_setuid.then_some(Right::Setuid)),
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
            rights: Vec::new(),
        }));
    }

    /// Returns the declaration of a path. The [rights](Self::allows) of the file need their own.
    #[must_use]
    pub fn path(&self, path: &str) -> Option<&DeclaredPath> {
        self.declarations(path).next()
    }

    /// Returns whether a declaration of a path lets its file have a right.
    #[must_use]
    pub fn allows(&self, path: &str, right: Right) -> bool {
        let mut declarations = self.declarations(path);
        declarations.any(|declared| declared.rights.contains(&right))
    }

    /// Returns whether a finding of the group `hygiene` is about a right that is declared.
    #[must_use]
    pub fn settles(&self, finding: &Finding) -> bool {
        let right = match finding.check.as_str() {
            "setuid-unpackaged" => Right::Setuid,
            "device-node" => Right::Device,
            _ => return false,
        };
        let path = finding.path.as_deref();
        path.is_some_and(|path| self.allows(path, right) || self.acceptable.accepts(path))
    }

    fn declarations<'s>(&'s self, path: &str) -> impl Iterator<Item = &'s DeclaredPath> {
        let files = self.files.iter();
        let files = files.filter(move |file| named_places::is_below(path, &file.path));
        let globs = self.creates.iter();
        let declares =
            move |glob: &&DeclaredPath| covers(&glob.path, path) && names_place(&glob.path, path);
        files.chain(globs.filter(declares))
    }

    /// Describes a glob that covers a path but does not declare it, because it does not name the place.
    #[must_use]
    pub fn covering(&self, path: &str) -> Option<String> {
        let (place, directory) = named_places::place_of(path)?;
        let glob = self.creates.iter().find(|glob| covers(&glob.path, path))?;
        Some(format!(
            "{} declares {}, but a {} only with {directory} in the glob",
            glob.by, glob.path, place.what
        ))
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

/// Returns whether a glob matches a path or a directory above it.
pub(super) fn covers(glob: &str, path: &str) -> bool {
    let inside = format!("{}/**", glob.trim_end_matches('/'));
    fast_glob::glob_match(glob, path) || fast_glob::glob_match(inside, path)
}

/// Returns whether a glob that covers a path names its [place](named_places), if it is in one.
pub(super) fn names_place(glob: &str, path: &str) -> bool {
    let Some((place, _)) = named_places::place_of(path) else {
        return true;
    };
    let names = |glob: &str| {
        let (prefix, mut below) = (literal_prefix(glob), place.below.iter());
        below.any(|directory| named_places::is_below(&prefix, directory))
    };
    let mut alternatives = alternatives(glob).unwrap_or_default().into_iter();
    alternatives.any(|glob| names(&glob) && covers(&glob, path))
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
