//! Package databases in one form: installed packages, their paths and the checksums of their files.

use std::collections::HashMap;

use super::hash::{Checksum, Sum};
use super::{Root, ScanError, apk, dpkg, rpm};
use crate::scan::inventory;

/// Paths of all packages. The largest systems have a million.
const MAX_PATHS: usize = 4 << 20;
/// Memory for texts of RPM and apk packages: a hundred times what a server needs.
const MAX_TEXT_BYTES: usize = 384 << 20;
/// Memory overhead of each text.
const TEXT_OVERHEAD_BYTES: usize = 64;

/// A package in any state of installation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// Names of the packages that it depends on or recommends.
    pub needs: Vec<String>,
}

/// A path of a package, and its expected state.
pub struct Claim {
    pub path: Box<[u8]>,
    pub expected: Expected,
    pub package: usize,
    pub conffile: bool,
    /// The path may have other content: it is a former configuration file.
    pub obsolete: bool,
}

/// Kind and content of a packaged path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Expected {
    /// A regular file with this content.
    File(Checksum),
    /// A symbolic link to this target.
    Link(Vec<u8>),
    /// A directory.
    Directory,
}

/// Set-user-id and set-group-id.
pub const SETUID_SETGID: u16 = 0o6000;

/// Rights that a package gives a program: mode, and uid and gid of its owner.
pub type Rights = (u16, (u32, u32));

/// A package's record in a database that keeps all packages in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Path of the database.
    pub path: Box<[u8]>,
    pub package: String,
    /// Version and architecture: several packages of a name may be installed.
    pub version: String,
    /// MD5 of the parts that stay the same while the version is installed.
    pub sum: Sum,
    pub scripts: String,
}

/// Content of all package databases of a system.
#[derive(Default)]
pub struct Database {
    pub packages: Vec<Package>,
    pub records: Vec<Record>,
    pub claims: Vec<Claim>,
    pub names: Vec<String>,
    pub owners: HashMap<Box<[u8]>, usize>,
    /// Setuid and setgid programs of packages whose files are known from outside the image.
    pub rights: HashMap<Box<[u8]>, Vec<Rights>>,
    /// Scripts of these packages, by their names.
    pub scripts: HashMap<String, String>,
    /// Bytes of memory for texts that may be smaller in the database itself.
    pub text: usize,
    numbers: HashMap<String, usize>,
}

impl Database {
    /// Reads all databases; empty for a tree without packages.
    pub fn read(root: &Root<'_>) -> Result<Self, ScanError> {
        let mut database = Self::default();
        let mut places = PathResolver::new(root);
        dpkg::read(root, &mut database, &mut places)?;
        rpm::read(root, &mut database, &mut places)?;
        apk::read(root, &mut database, &mut places)?;
        Ok(database)
    }

    /// Fails if the databases are larger than any system's; `path` was read last.
    pub fn check_size(&self, path: &[u8]) -> Result<(), ScanError> {
        let paths = self.owners.len().max(self.claims.len());
        if paths > MAX_PATHS {
            let problem = format!("the packages have more than {MAX_PATHS} paths");
            return Err(ScanError::damaged(path, problem));
        }
        if self.text > MAX_TEXT_BYTES {
            let problem = "the package databases are larger than any system's";
            return Err(ScanError::damaged(path, problem));
        }
        Ok(())
    }

    /// Records the owner of a path and returns the path.
    pub fn set_owner(&mut self, path: Box<[u8]>, package: usize) -> Box<[u8]> {
        self.text += 2 * (path.len() + TEXT_OVERHEAD_BYTES);
        self.owners.insert(path.clone(), package);
        path
    }

    /// Returns the index of a package name, adding it if it is new.
    pub fn number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// Fills in the `needs` of the packages from `first` on: the names of the providers of each required capability. A
    /// required path is provided by its owner.
    pub fn resolve(&mut self, first: usize, relations: &Relations, places: &mut PathResolver<'_>) {
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

/// Provided and required capabilities, where these are not just package names.
#[derive(Default)]
pub struct Relations {
    /// Providers of each capability.
    pub provided: HashMap<String, Vec<usize>>,
    /// Required capabilities of each package.
    pub required: Vec<(usize, Vec<String>)>,
}

impl Relations {
    /// Adds the relations of the next package and returns the memory they take, in bytes.
    pub fn add(
        &mut self,
        provided: impl IntoIterator<Item = String>,
        required: impl IntoIterator<Item = String>,
    ) -> usize {
        let (package, mut taken) = (self.required.len(), 0);
        let mut size = |capability: &String| taken += capability.len() + TEXT_OVERHEAD_BYTES;
        for capability in provided {
            size(&capability);
            self.provided.entry(capability).or_default().push(package);
        }
        let required: Vec<_> = required.into_iter().inspect(&mut size).collect();
        self.required.push((package, required));
        taken
    }
}

/// Returns the version and architecture, which identify a package among others of its name.
pub fn exact(package: &inventory::Package) -> String {
    format!("{}.{}", package.version, package.architecture)
}

/// Target of a diversion, and the package that made it.
type Diversion = (Box<[u8]>, String);

/// Resolves packaged paths to their real locations.
pub struct PathResolver<'a> {
    root: &'a Root<'a>,
    diversions: HashMap<Box<[u8]>, Diversion>,
    directories: HashMap<Box<[u8]>, Option<Vec<u8>>>,
}

impl<'a> PathResolver<'a> {
    pub fn new(root: &'a Root<'a>) -> Self {
        Self {
            root,
            diversions: HashMap::new(),
            directories: HashMap::new(),
        }
    }

    /// Diverts a path for every package but the last word of the diversion: path, other path, package.
    pub fn divert(&mut self, [from, to, by]: &[Vec<u8>; 3]) {
        let (from, to) = (self.resolve(from), self.resolve(to));
        let by = String::from_utf8_lossy(by).into_owned();
        self.diversions.insert(from, (to, by));
    }

    /// Returns the real location of a package's path.
    pub fn diverted(&mut self, path: &[u8], package: &str) -> Box<[u8]> {
        let path = self.resolve(path);
        match self.diversions.get(&path) {
            Some((to, by)) if by != package => to.clone(),
            _ => path,
        }
    }

    /// Resolves symbolic links in the directory of a path: `/lib/x` is `/usr/lib/x` if `/lib` links to `usr/lib`.
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
