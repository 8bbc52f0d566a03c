//! The observed state of a tree: everything that has to be declared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::declared::Right;
use super::watched_paths::{self, WatchedPlace};
use crate::disk::read::FileType;
use crate::disk::tree::{Content, File};
use crate::scan::integrity::{Checksum, Package, Packaged, capabilities, md5_sums, verify_some};
use crate::scan::{Root, ScanError};

/// Directory of the scripts and checksums that dpkg keeps of each package.
const DATABASE: &[u8] = b"/var/lib/dpkg/info/";
/// Character devices that every user may open in `/dev` anyway, and that services copy into directories which they run in:
/// null, zero, full, random, urandom and tty. The numbers 0 are a mark of overlayfs for a deleted file.
const HARMLESS_DEVICES: [(u32, u32); 7] = [(0, 0), (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];
/// Maximum size of an account file: enough for several hundred thousand users.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The observed state of one tree.
#[derive(Clone, Debug, Default)]
pub struct ObservedState {
    pub packages: Vec<Package>,
    /// Files in the watched [places] that belong to no package, and modified files of packages.
    pub paths: BTreeMap<Box<[u8]>, Fingerprint>,
    /// Checksums of the records of each package: its own checksums and scripts, but not dpkg's file lists, which change
    /// with other packages.
    pub database: BTreeMap<DatabaseRecord, Checksum>,
    /// Files that give their caller more rights, and device nodes.
    pub privileged: BTreeMap<Box<[u8]>, Privilege>,
    /// Lines of `/etc/passwd` by name, without the password.
    pub users: BTreeMap<String, String>,
    /// Gids and members of groups by name.
    pub groups: BTreeMap<String, (String, BTreeSet<String>)>,
}

/// Identifies a record of a package in the package database.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DatabaseRecord {
    pub path: Box<[u8]>,
    /// Name of the package.
    pub package: String,
    /// Version of the package, if the record contains it.
    pub version: Option<String>,
}

/// Properties of a file that tell whether it was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    pub kind: FileType,
    pub mode: u16,
    pub uid: u32,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Checksum of a regular file.
    pub sum: Option<Checksum>,
}

/// The rights that a file gives its caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Privilege {
    /// Permissions, including setuid and setgid.
    pub mode: u16,
    /// Uid and gid that a setuid or setgid program runs with.
    pub owner: (u32, u32),
    /// The raw value of the attribute for capabilities.
    pub capabilities: Option<Vec<u8>>,
    /// Kind and numbers of a device.
    pub device: Option<(FileType, u32, u32)>,
}

impl Privilege {
    /// Returns the rights that a declaration has to allow.
    pub fn rights(&self) -> impl Iterator<Item = Right> {
        let rights = [
            (self.device.is_some(), Right::Device),
            (self.capabilities.is_some(), Right::Capabilities),
            (is_setuid(self.mode), Right::Setuid),
        ];
        let given = rights.into_iter().filter(|(given, _)| *given);
        given.map(|(_, right)| right)
    }
}

impl ObservedState {
    /// Collects the state of the base of an image. Only those packaged files are verified that differ in the image: others
    /// need no comparison.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub fn collect_base(root: &Root<'_>, image: &Self) -> Result<Self, ScanError> {
        let packaged = verify_some(root, |path| image.paths.contains_key(path))?;
        Self::collect(root, &packaged)
    }

    /// Collects the state of a tree; `packaged` is the result of verifying its packages.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub fn collect(root: &Root<'_>, packaged: &Packaged) -> Result<Self, ScanError> {
        let mut state = Self {
            packages: packaged.packages.clone(),
            ..Self::default()
        };
        let files = root.tree().files();
        let mut hashed = Vec::new();
        for (path, index) in root.tree().paths() {
            let file = &files[index];
            if let Some(privilege) = privilege(file) {
                state.privileged.insert(path.into(), privilege);
            }
            let known = subject(packaged, path, file).is_some() || is_database(path);
            if known && file.kind == FileType::File {
                hashed.push(index);
            }
        }
        hashed.sort_unstable();
        hashed.dedup();
        let known: HashMap<usize, Checksum> = md5_sums(root, hashed)?;
        for (path, index) in root.tree().paths() {
            let file = &files[index];
            if let Some(&sum) = known.get(&index).filter(|_| is_database(path)) {
                let key = DatabaseRecord {
                    path: path.into(),
                    package: package_of(path),
                    version: None,
                };
                state.database.insert(key, sum);
            }
            if subject(packaged, path, file).is_some() {
                let fingerprint = fingerprint(file, known.get(&index).copied());
                state.paths.insert(path.into(), fingerprint);
            }
        }
        for record in &packaged.records {
            let key = DatabaseRecord {
                path: record.path.clone(),
                package: record.package.clone(),
                version: Some(record.version.clone()),
            };
            state.database.insert(key, Checksum::Md5(record.sum));
        }
        for modified in &packaged.modified {
            if let Some(file) = root.get(&modified.path) {
                let fingerprint = fingerprint(file, modified.sum);
                state.paths.insert(modified.path.clone(), fingerprint);
            }
        }
        state.read_accounts(root)?;
        Ok(state)
    }

    fn read_accounts(&mut self, root: &Root<'_>) -> Result<(), ScanError> {
        let text = |path: &[u8]| -> Result<String, ScanError> {
            let bytes = root.read(path, MAX_FILE_BYTES)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        for line in text(b"/etc/passwd")?.lines() {
            if let [name, _, rest @ ..] = &line.split(':').collect::<Vec<_>>()[..] {
                self.users.insert((*name).to_owned(), rest.join(":"));
            }
        }
        for line in text(b"/etc/group")?.lines() {
            if let [name, _, gid, members] = line.split(':').collect::<Vec<_>>()[..] {
                let members = members.split(',').filter(|member| !member.is_empty());
                let members = members.map(str::to_owned).collect();
                self.groups
                    .insert(name.to_owned(), (gid.to_owned(), members));
            }
        }
        Ok(())
    }

    /// Returns the installed versions of a package.
    pub fn versions<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        let packages = self.packages.iter();
        let packages = packages.filter(move |package| package.name == name);
        packages.map(|package| package.version.as_str())
    }
}

fn is_database(path: &[u8]) -> bool {
    path.starts_with(DATABASE) && !path.ends_with(b".list")
}

/// Returns the package that a file of dpkg belongs to: `libc6:amd64.md5sums`. The name of a package may have dots, the
/// extension has none.
pub(super) fn package_of(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let name = text.rsplit('/').next().unwrap_or_default();
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    stem.split(':').next().unwrap_or(stem).to_owned()
}

/// Returns the watched place of a path, unless it belongs to a package or is a directory.
pub(super) fn subject(
    packaged: &Packaged,
    path: &[u8],
    file: &File,
) -> Option<&'static WatchedPlace> {
    if file.kind == FileType::Directory || packaged.owner(path).is_some() {
        return None;
    }
    // A masked unit starts nothing.
    let off = matches!(&file.content, Content::Link(target) if target == b"/dev/null");
    watched_paths::place_of(path).filter(|_| !off)
}

fn fingerprint(file: &File, sum: Option<Checksum>) -> Fingerprint {
    Fingerprint {
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
    let is_file = file.kind == FileType::File;
    let capabilities = capabilities(file).filter(|_| is_file);
    let device = device(file);
    let is = is_file && is_setuid(file.mode) || capabilities.is_some() || device.is_some();
    is.then(|| Privilege {
        mode: file.mode,
        owner: (file.uid, file.gid),
        capabilities: capabilities.map(<[u8]>::to_vec),
        device,
    })
}

fn is_setuid(mode: u16) -> bool {
    // Without the group's execute bit, setgid stands for mandatory locking.
    mode & 0o4000 != 0 || mode & 0o2010 == 0o2010
}

/// Returns kind and numbers of a device node that gives access to something.
pub(crate) fn device(file: &File) -> Option<(FileType, u32, u32)> {
    let (major, minor) = file.rdev.unwrap_or_default();
    let is_harmless =
        file.kind == FileType::CharDevice && HARMLESS_DEVICES.contains(&(major, minor));
    let is_device = matches!(file.kind, FileType::CharDevice | FileType::BlockDevice);
    (is_device && !is_harmless).then_some((file.kind, major, minor))
}
