//! What there is in a tree that somebody must have declared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::watched_paths::{self, Place};
use crate::disk::read::Kind;
use crate::disk::tree::{Content, File};
use crate::scan::integrity::{Checksum, Package, Packaged, sums, verify_some};
use crate::scan::{Root, ScanError};

/// Threads that take sums.
const THREADS: usize = 2;
/// What dpkg keeps of each package.
const DATABASE: &[u8] = b"/var/lib/dpkg/info/";
/// The attribute that has a file's capabilities.
const CAPABILITY: &[u8] = b"security.capability";
/// More than a hundred thousand users have.
const LARGEST: u64 = 32 << 20;

/// The facts of one tree.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What is installed.
    pub packages: Vec<Package>,
    /// What is in the [places] and no package's, and packaged files that were changed.
    pub paths: BTreeMap<Box<[u8]>, Print>,
    /// MD5 of what is kept of each package, by file and the package's name: checksums and scripts, but not dpkg's lists,
    /// which change with other packages.
    pub database: BTreeMap<Kept, Checksum>,
    /// Files that give more rights than their caller has.
    pub privileged: BTreeMap<Box<[u8]>, Privilege>,
    /// Lines of `/etc/passwd` by name, without the password.
    pub users: BTreeMap<String, String>,
    /// Groups with their numbers and members.
    pub groups: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// What is kept of a package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kept {
    /// Where.
    pub path: Box<[u8]>,
    /// The package's name.
    pub package: String,
    /// Of which version it is, where that is kept with it.
    pub version: Option<String>,
}

/// By what a path is known again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Print {
    /// What it is.
    pub kind: Kind,
    /// Its permissions.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// What a link leads to.
    pub target: Option<Vec<u8>>,
    /// Of a regular file.
    pub sum: Option<Checksum>,
}

/// What rights a file gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Privilege {
    /// Its permissions, with those that make it privileged.
    pub mode: u16,
    /// Whom it becomes.
    pub owner: (u32, u32),
    /// Its capabilities, as the attribute has them.
    pub capabilities: Option<Vec<u8>>,
}

impl Facts {
    /// Collects those of the base of an image: of its packaged files only those are verified that the image's facts name,
    /// for what the image has as its packages say needs no comparison.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of_base(root: &Root<'_>, image: &Self) -> Result<Self, ScanError> {
        let packaged = verify_some(root, THREADS, |path| image.paths.contains_key(path))?;
        Self::of(root, &packaged)
    }

    /// Collects them; `packaged` is what was verified of the same tree.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn of(root: &Root<'_>, packaged: &Packaged) -> Result<Self, ScanError> {
        let mut facts = Self {
            packages: packaged.packages.clone(),
            ..Self::default()
        };
        let files = root.tree().files();
        let mut hashed = Vec::new();
        for (path, index) in root.tree().paths() {
            let file = &files[index];
            if let Some(privilege) = privilege(file) {
                facts.privileged.insert(path.into(), privilege);
            }
            let known = subject(packaged, path, file).is_some() || is_database(path);
            if known && file.kind == Kind::File {
                hashed.push(index);
            }
        }
        hashed.sort_unstable();
        hashed.dedup();
        let known: HashMap<usize, Checksum> = sums(root, hashed, THREADS)?;
        for (path, index) in root.tree().paths() {
            let file = &files[index];
            if let Some(&sum) = known.get(&index).filter(|_| is_database(path)) {
                let kept = Kept {
                    path: path.into(),
                    package: package_of(path),
                    version: None,
                };
                facts.database.insert(kept, sum);
            }
            if subject(packaged, path, file).is_some() {
                let print = print(file, known.get(&index).copied());
                facts.paths.insert(path.into(), print);
            }
        }
        for record in &packaged.records {
            let kept = Kept {
                path: record.path.clone(),
                package: record.package.clone(),
                version: Some(record.version.clone()),
            };
            facts.database.insert(kept, Checksum::Md5(record.sum));
        }
        for modified in &packaged.modified {
            if let Some(file) = root.get(&modified.path) {
                let print = print(file, Some(modified.sum));
                facts.paths.insert(modified.path.clone(), print);
            }
        }
        facts.read_accounts(root)?;
        Ok(facts)
    }

    fn read_accounts(&mut self, root: &Root<'_>) -> Result<(), ScanError> {
        let text = |path: &[u8]| -> Result<String, ScanError> {
            let bytes = root.read(path, LARGEST)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        for line in text(b"/etc/passwd")?.lines() {
            if let [name, _, rest @ ..] = &line.split(':').collect::<Vec<_>>()[..] {
                self.users.insert((*name).to_owned(), rest.join(":"));
            }
        }
        for line in text(b"/etc/group")?.lines() {
            if let [name, _, gid, members] = line.split(':').collect::<Vec<_>>()[..] {
                let members = members.split(',').filter(|it| !it.is_empty());
                let members = members.map(str::to_owned).collect();
                self.groups
                    .insert(name.to_owned(), (gid.to_owned(), members));
            }
        }
        Ok(())
    }

    /// The versions of a package that are installed.
    pub fn versions<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        let packages = self.packages.iter().filter(move |it| it.name == name);
        packages.map(|it| it.version.as_str())
    }
}

fn is_database(path: &[u8]) -> bool {
    path.starts_with(DATABASE) && !path.ends_with(b".list")
}

/// The package that a file of dpkg's is about: `libc6:amd64.md5sums`. The name of a package may have dots, the kind of a
/// file has none.
fn package_of(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let name = text.rsplit('/').next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.split(':').next().unwrap_or(stem).to_owned()
}

/// The place of a path that somebody besides packages must have declared.
pub(super) fn subject(packaged: &Packaged, path: &[u8], file: &File) -> Option<&'static Place> {
    if file.kind == Kind::Directory || packaged.owner(path).is_some() {
        return None;
    }
    // A unit that is switched off starts nothing.
    let off = matches!(&file.content, Content::Link(target) if target == b"/dev/null");
    watched_paths::of(path).filter(|_| !off)
}

fn print(file: &File, sum: Option<Checksum>) -> Print {
    Print {
        kind: file.kind,
        mode: file.mode,
        uid: file.uid,
        target: match &file.content {
            Content::Link(target) => Some(target.clone()),
            _ => None,
        },
        sum,
    }
}

fn privilege(file: &File) -> Option<Privilege> {
    let capabilities = file.xattrs.iter().find(|it| it.name == CAPABILITY);
    // A group's bit without the one to execute once meant mandatory locks.
    let set = file.mode & 0o4000 != 0 || file.mode & 0o2010 == 0o2010;
    let is = file.kind == Kind::File && (set || capabilities.is_some());
    is.then(|| Privilege {
        mode: file.mode,
        owner: (file.uid, file.gid),
        capabilities: capabilities.map(|it| it.value.clone()),
    })
}
