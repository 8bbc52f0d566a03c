//! The databases of packages in one form: what is installed, which paths it has, and the checksums of its files.

use std::collections::HashMap;

use super::hash::{Checksum, Sum};
use super::{Root, ScanError, apk, dpkg, rpm};
use crate::scan::inventory;
use crate::scan::root::shown;

/// Paths of all packages together; the largest of systems have a million.
const MOST_PATHS: usize = 4 << 20;

/// What RPM and apk keep of packages, with what it takes to keep it here; a hundred times what a server has.
const MOST_TEXT: usize = 384 << 20;
/// Of each text.
const OVERHEAD: usize = 64;

/// A package that is there in any way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, `all` for none.
    pub architecture: String,
    /// Names of packages that it depends on or recommends.
    pub needs: Vec<String>,
}

/// What a package says that a file has.
pub struct Claim {
    pub path: Box<[u8]>,
    pub sum: Checksum,
    pub package: usize,
    pub conffile: bool,
    pub obsolete: bool,
}

/// What a database keeps of a package, where it keeps all packages in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The file.
    pub path: Box<[u8]>,
    /// The package's name.
    pub package: String,
    /// Its version and architecture: several of a name may be installed.
    pub version: String,
    /// MD5 of what must not change while the version is the same.
    pub sum: Sum,
    /// What is run as the package is installed.
    pub scripts: String,
}

/// All of it.
#[derive(Default)]
pub struct Database {
    pub packages: Vec<Package>,
    pub records: Vec<Record>,
    pub claims: Vec<Claim>,
    pub names: Vec<String>,
    pub owners: HashMap<Box<[u8]>, usize>,
    /// Bytes that are kept of what need not be as large in the database itself.
    pub text: usize,
    numbers: HashMap<String, usize>,
}

impl Database {
    /// Reads all that there are; a tree without packages has nothing in it.
    pub fn read(root: &Root<'_>) -> Result<Self, ScanError> {
        let mut database = Self::default();
        let mut places = Places::new(root);
        dpkg::read(root, &mut database, &mut places)?;
        rpm::read(root, &mut database, &mut places)?;
        apk::read(root, &mut database, &mut places)?;
        Ok(database)
    }

    /// Fails once there are more paths than any system has; `path` is what was read last.
    pub fn check_size(&self, path: &[u8]) -> Result<(), ScanError> {
        let paths = self.owners.len().max(self.claims.len());
        if paths > MOST_PATHS {
            let problem = format!("with it packages have more than {MOST_PATHS} paths");
            return Err(damaged(path, problem));
        }
        if self.text > MOST_TEXT {
            let problem = "with it there is more text than packages of any system have";
            return Err(damaged(path, problem.to_owned()));
        }
        Ok(())
    }

    /// Says that a package has a path, and gives the path back.
    pub fn own(&mut self, path: Box<[u8]>, package: usize) -> Box<[u8]> {
        self.text += 2 * (path.len() + OVERHEAD);
        self.owners.insert(path.clone(), package);
        path
    }

    /// The number of a package.
    pub fn number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// Puts into the packages from `first` on the names of what provides what they require; a path is provided by who has it.
    pub fn resolve(&mut self, first: usize, relations: &Relations, places: &mut Places<'_>) {
        for (package, required) in &relations.required {
            let mut needs = Vec::new();
            for capability in required {
                if let Some(providers) = relations.provided.get(capability) {
                    let names = providers.iter().map(|at| &self.packages[first + at].name);
                    needs.extend(names.cloned());
                } else if capability.starts_with('/')
                    && let Some(&owner) = self.owners.get(&places.resolve(capability.as_bytes()))
                {
                    needs.push(self.names[owner].clone());
                }
            }
            needs.sort_unstable();
            needs.dedup();
            self.packages[first + package].needs = needs;
        }
    }
}

/// What packages require and provide, where that is not names of packages alone.
#[derive(Default)]
pub struct Relations {
    /// Capabilities, with the packages that have them.
    pub provided: HashMap<String, Vec<usize>>,
    /// Packages, with the capabilities that they ask for.
    pub required: Vec<(usize, Vec<String>)>,
}

impl Relations {
    /// Adds those of one more package, which is the next one. The bytes that this takes.
    pub fn add(
        &mut self,
        provided: impl IntoIterator<Item = String>,
        required: impl IntoIterator<Item = String>,
    ) -> usize {
        let (package, mut taken) = (self.required.len(), 0);
        let mut size = |capability: &String| taken += capability.len() + OVERHEAD;
        for capability in provided {
            size(&capability);
            self.provided.entry(capability).or_default().push(package);
        }
        let required: Vec<_> = required.into_iter().inspect(&mut size).collect();
        self.required.push((package, required));
        taken
    }
}

/// Version and architecture of a package, by which it is known among others of its name.
pub fn exact(package: &inventory::Package) -> String {
    format!("{}.{}", package.version, package.architecture)
}

/// Where a path is moved to, and the package that has it moved.
type Diversion = (Box<[u8]>, String);

/// Where the files of packages really are.
pub struct Places<'a> {
    root: &'a Root<'a>,
    /// What is moved, and everybody but whom it is moved for.
    diversions: HashMap<Box<[u8]>, Diversion>,
    directories: HashMap<Box<[u8]>, Option<Vec<u8>>>,
}

impl<'a> Places<'a> {
    fn new(root: &'a Root<'a>) -> Self {
        Self {
            root,
            diversions: HashMap::new(),
            directories: HashMap::new(),
        }
    }

    /// Says that a path of every package but `by` is moved.
    pub fn divert(&mut self, from: &[u8], to: &[u8], by: String) {
        let (from, to) = (self.resolve(from), self.resolve(to));
        self.diversions.insert(from, (to, by));
    }

    /// Where a package's path is.
    pub fn of(&mut self, path: &[u8], package: &str) -> Box<[u8]> {
        let path = self.resolve(path);
        match self.diversions.get(&path) {
            Some((to, by)) if by != package => to.clone(),
            _ => path,
        }
    }

    /// The same path without links on the way: `/lib/x` is `/usr/lib/x` where `/lib` leads to `usr/lib`.
    pub fn resolve(&mut self, path: &[u8]) -> Box<[u8]> {
        let Some(slash) = path.iter().rposition(|&byte| byte == b'/') else {
            return path.into();
        };
        let (above, name) = path.split_at(slash);
        if above.is_empty() {
            return path.into();
        }
        if !self.directories.contains_key(above) {
            let real = self.root.resolve(above);
            self.directories.insert(above.into(), real);
        }
        match &self.directories[above] {
            Some(real) if real == b"/" => name.into(),
            Some(real) => [real, name].concat().into(),
            None => path.into(),
        }
    }
}

/// An error that tells what is wrong with a file.
pub fn damaged(path: &[u8], problem: String) -> ScanError {
    ScanError::Damaged {
        path: shown(path),
        problem,
    }
}
