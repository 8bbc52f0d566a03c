//! A directory of the host as a file system: the root of an unpacked or mounted image.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, SeekFrom, Stat};

use super::walk::MAX_PATHS;
use super::{
    DataRun, DirectoryEntry, FileFlags, FileSystem, FileType, Inode, Metadata, ReadError, Time,
    Xattr,
};

const PART: &str = "directory";
/// The kernel's limit for an attribute (`XATTR_SIZE_MAX`), and for a list of names.
const MAX_XATTR_BYTES: usize = 1 << 16;
/// The limit for a file of an ext4, too.
const MAX_RUNS: usize = 1 << 20;
/// Files that stay open: a few threads read eight files each, part by part.
const MAX_OPEN_FILES: usize = 40;
/// Magic numbers (`statfs`) of file systems that expose the host's kernel: proc, sysfs, cgroup 1 and 2, debugfs, tracefs,
/// securityfs, configfs, bpf, efivarfs, devpts. They are never part of an image.
const KERNEL_FILE_SYSTEMS: [u64; 11] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0xcafe_4a11,
    0xde5e_81e4,
    0x1cd1,
];

/// A directory of the host. Links are not followed, devices and sockets are listed but never opened, and file systems of the
/// host's kernel (`/proc` and the like) appear empty.
pub struct Directory {
    root: OwnedFd,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Vec<Known>,
    /// Files with several names, by device and inode of the host.
    linked: HashMap<(u64, u64), Inode>,
    open: VecDeque<(Inode, Arc<File>)>,
}

/// A file that was found and given a number.
#[derive(Clone)]
struct Known {
    /// Path below the root; empty for the root itself.
    path: Arc<[u8]>,
    metadata: Metadata,
    device: u64,
    inode: u64,
    target: Option<Vec<u8>>,
}

impl Directory {
    /// Opens a directory, or a link to one.
    ///
    /// # Errors
    /// The path is not a directory, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let error = |errno: rustix::io::Errno| ReadError::Io {
            what: path.display().to_string(),
            source: errno.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(error)?;
        let stat = rustix::fs::fstat(&root).map_err(error)?;
        let this = Self {
            root,
            path: path.to_owned(),
            state: Mutex::default(),
        };
        let known = Known::new(Vec::new(), &stat, None).ok_or_else(|| this.unknown_kind(b""))?;
        this.state().known.push(known);
        Ok(this)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete by itself, so a poisoned lock is harmless.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, inode: Inode) -> Result<Known, ReadError> {
        let index = usize::try_from(inode.0).unwrap_or(usize::MAX);
        let known = self.state().known.get(index).cloned();
        known.ok_or_else(|| damaged(format!("inode {} does not exist", inode.0)))
    }

    fn host_path(&self, path: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(path))
    }

    fn io(&self, path: &[u8], error: impl Into<io::Error>) -> ReadError {
        ReadError::Io {
            what: self.host_path(path).display().to_string(),
            source: error.into(),
        }
    }

    fn unknown_kind(&self, path: &[u8]) -> ReadError {
        damaged(format!(
            "{} is of an unknown kind",
            self.host_path(path).display()
        ))
    }

    /// Opens a known file again: no component of its path may be a link, and it must still be the same file.
    fn reopen(&self, known: &Known, flags: OFlags) -> Result<OwnedFd, ReadError> {
        let path: &[u8] = if known.path.is_empty() {
            b"."
        } else {
            &known.path
        };
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = || {
            let file = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)?;
            let stat = rustix::fs::fstat(&file)?;
            Ok::<_, rustix::io::Errno>((file, stat))
        };
        let (file, stat) = open().map_err(|errno| self.io(&known.path, errno))?;
        if (stat.st_dev, stat.st_ino) == (known.device, known.inode) {
            return Ok(file);
        }
        let path = self.host_path(&known.path);
        Err(damaged(format!(
            "{} was replaced during the read",
            path.display()
        )))
    }

    fn file(&self, inode: Inode) -> Result<Arc<File>, ReadError> {
        let known = self.known(inode)?;
        if known.metadata.kind != FileType::File {
            return Err(damaged(format!("inode {} is not a regular file", inode.0)));
        }
        let open = |state: &State| {
            let mut open = state.open.iter();
            let found = open.find(|(number, _)| *number == inode)?;
            Some(Arc::clone(&found.1))
        };
        if let Some(file) = open(&self.state()) {
            return Ok(file);
        }
        let file = Arc::new(File::from(self.reopen(&known, OFlags::empty())?));
        let mut state = self.state();
        if state.open.len() >= MAX_OPEN_FILES {
            state.open.pop_front();
        }
        state.open.push_back((inode, Arc::clone(&file)));
        Ok(file)
    }

    /// Looks up one name of a directory.
    fn look_up(&self, directory: (&Known, &OwnedFd), name: &[u8]) -> Result<Known, ReadError> {
        let mut path = directory.0.path.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        let stat = rustix::fs::statat(directory.1, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.io(&path, errno))?;
        let is_link = FileType::from_mode(kind_bits(&stat)) == Some(FileType::Link);
        let target = is_link.then(|| rustix::fs::readlinkat(directory.1, name, Vec::new()));
        let target = target.transpose().map_err(|errno| self.io(&path, errno))?;
        let target = target.map(std::ffi::CString::into_bytes);
        Known::new(path.clone(), &stat, target).ok_or_else(|| self.unknown_kind(&path))
    }

    /// Returns whether a directory is in a file system of the host's kernel.
    fn is_of_kernel(&self, known: &Known, file: &OwnedFd) -> Result<bool, ReadError> {
        if known.path.is_empty() {
            return Ok(false);
        }
        let kind = rustix::fs::fstatfs(file).map_err(|errno| self.io(&known.path, errno))?;
        // Width and sign of the field differ between machines; the numbers have 32 bits.
        let kind = i128::from(kind.f_type) & 0xffff_ffff;
        Ok(KERNEL_FILE_SYSTEMS
            .iter()
            .any(|magic| i128::from(*magic) == kind))
    }
}

impl State {
    /// Returns the number of a file: the one that it has under another name, or a new one.
    fn number(&mut self, known: Known) -> Inode {
        let next = Inode(self.known.len() as u64);
        if known.metadata.links > 1 && known.metadata.kind != FileType::Directory {
            let key = (known.device, known.inode);
            let inode = *self.linked.entry(key).or_insert(next);
            if inode != next {
                return inode;
            }
        }
        self.known.push(known);
        next
    }
}

impl Known {
    fn new(path: Vec<u8>, stat: &Stat, target: Option<Vec<u8>>) -> Option<Self> {
        let kind = FileType::from_mode(kind_bits(stat))?;
        let device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        let major = rustix::fs::major(stat.st_rdev);
        let metadata = Metadata {
            kind,
            mode: kind_bits(stat) & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            atime: time(i128::from(stat.st_atime), i128::from(stat.st_atime_nsec)),
            mtime: time(i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
            ctime: time(i128::from(stat.st_ctime), i128::from(stat.st_ctime_nsec)),
            crtime: None,
            rdev: device.then(|| (major, rustix::fs::minor(stat.st_rdev))),
            flags: FileFlags::default(),
            project: 0,
        };
        Some(Self {
            path: path.into(),
            metadata,
            device: stat.st_dev,
            inode: stat.st_ino,
            target,
        })
    }
}

impl FileSystem for Directory {
    fn root(&self) -> Inode {
        Inode(0)
    }

    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
        Ok(self.known(inode)?.metadata)
    }

    fn read_dir(&self, inode: Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        let known = self.known(inode)?;
        let file = self.reopen(&known, OFlags::DIRECTORY)?;
        if self.is_of_kernel(&known, &file)? {
            return Ok(Vec::new());
        }
        let error = |errno: rustix::io::Errno| self.io(&known.path, errno);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&file).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name().to_bytes();
            if [&b"."[..], b".."].contains(&name) {
                continue;
            }
            let found = self.look_up((&known, &file), name)?;
            let kind = Some(found.metadata.kind);
            let mut state = self.state();
            if state.known.len().max(entries.len()) >= MAX_PATHS {
                return Err(too_large(format!("it has more than {MAX_PATHS} names")));
            }
            entries.push(DirectoryEntry {
                name: name.into(),
                inode: state.number(found),
                kind,
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError> {
        let target = self.known(inode)?.target;
        target.ok_or_else(|| damaged(format!("inode {} is not a link", inode.0)))
    }

    fn xattrs(&self, inode: Inode) -> Result<Vec<Xattr>, ReadError> {
        let known = self.known(inode)?;
        let path = self.host_path(&known.path);
        let mut names = vec![0; MAX_XATTR_BYTES];
        let length = match rustix::fs::llistxattr(&path, &mut names) {
            Ok(length) => length,
            Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(self.io(&known.path, errno)),
        };
        let mut xattrs = Vec::new();
        let names = names[..length].split(|byte| *byte == 0);
        for name in names.filter(|name| !name.is_empty()) {
            let mut value = vec![0; MAX_XATTR_BYTES];
            match rustix::fs::lgetxattr(&path, name, &mut value) {
                Ok(length) => value.truncate(length),
                // Removed meanwhile, or hidden from this user.
                Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => continue,
                Err(errno) => return Err(self.io(&known.path, errno)),
            }
            value.shrink_to_fit();
            let name = name.to_vec();
            xattrs.push(Xattr { name, value });
        }
        xattrs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(xattrs)
    }

    fn runs(&self, inode: Inode) -> Result<Vec<DataRun>, ReadError> {
        let length = self.known(inode)?.metadata.size;
        let file = self.file(inode)?;
        let next = |whence| match rustix::fs::seek(&*file, whence) {
            Ok(offset) => Ok(offset.min(length)),
            Err(rustix::io::Errno::NXIO) => Ok(length),
            Err(errno) => Err(self.io(&self.known(inode)?.path, errno)),
        };
        let (mut runs, mut at) = (Vec::new(), 0);
        while at < length {
            let start = next(SeekFrom::Data(at))?;
            let end = if start < length {
                next(SeekFrom::Hole(start))?
            } else {
                length
            };
            if start < end {
                runs.push(DataRun {
                    offset: start,
                    length: end - start,
                });
            }
            if runs.len() > MAX_RUNS {
                return Err(too_large(format!(
                    "a file has more than {MAX_RUNS} runs of data"
                )));
            }
            // Progress, even if the file is truncated meanwhile.
            at = end.max(at + 1);
        }
        Ok(runs)
    }

    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let file = self.file(inode)?;
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            match file.read_at(rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io(&self.known(inode)?.path, error)),
            }
        }
        Ok(filled)
    }
}

fn damaged(problem: String) -> ReadError {
    ReadError::damaged(PART, problem)
}

fn too_large(problem: String) -> ReadError {
    ReadError::too_large(PART, problem)
}

fn kind_bits(stat: &Stat) -> u16 {
    // On Linux these are all bits: the file type and twelve bits of permissions.
    u16::try_from(stat.st_mode & 0xffff).unwrap_or(0)
}

fn time(seconds: i128, nanoseconds: i128) -> Time {
    Time {
        seconds: i64::try_from(seconds).unwrap_or(0),
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::disk::tree::{Content, Tree};

    #[test]
    fn a_directory_is_read_and_no_link_is_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join("root").join(name);
        fs::create_dir_all(at("etc")).unwrap();
        fs::write(scratch.path().join("outside"), "secret").unwrap();
        fs::write(at("etc/passwd"), "root").unwrap();
        fs::set_permissions(at("etc/passwd"), fs::Permissions::from_mode(0o4640)).unwrap();
        fs::hard_link(at("etc/passwd"), at("etc/passwd-")).unwrap();
        symlink("../../outside", at("etc/escape")).unwrap();
        symlink("/", at("loop")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let files = Directory::open(&at("")).unwrap();
        let tree = Tree::read(&files).unwrap();
        let paths: Vec<_> = tree
            .paths()
            .map(|(path, _)| String::from_utf8_lossy(path))
            .collect();
        let expected = [
            "/",
            "/etc",
            "/etc/escape",
            "/etc/passwd",
            "/etc/passwd-",
            "/loop",
            "/socket",
        ];
        assert_eq!(paths, expected);
        assert_eq!(
            tree.find(b"/etc/passwd"),
            tree.find(b"/etc/passwd-"),
            "one file"
        );
        let file = |path: &str| &tree.files()[tree.find(path.as_bytes()).unwrap()];
        assert_eq!(file("/etc/passwd").mode, 0o4640);
        assert_eq!(
            file("/etc/escape").content,
            Content::Link(b"../../outside".to_vec())
        );
        assert_eq!(file("/socket").kind, FileType::Socket);
        for (offset, expected) in [(0, "root"), (2, "ot"), (4, ""), (u64::MAX / 4, "")] {
            let mut buffer = [0; 8];
            let content = &file("/etc/passwd").content;
            let count = content.read_at(&files, offset, &mut buffer).unwrap();
            assert_eq!(&buffer[..count], expected.as_bytes(), "at {offset}");
        }
    }

    #[test]
    fn a_replacement_of_a_file_is_not_read() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join("root").join(name);
        fs::create_dir_all(at("etc")).unwrap();
        fs::create_dir_all(scratch.path().join("host")).unwrap();
        fs::write(scratch.path().join("host/passwd"), "the host's").unwrap();
        fs::write(at("etc/passwd"), "root").unwrap();
        let files = Directory::open(&at("")).unwrap();
        let etc = files.read_dir(files.root()).unwrap()[0].inode;
        let passwd = files.read_dir(etc).unwrap()[0].inode;
        fs::remove_dir_all(at("etc")).unwrap();
        symlink("../host", at("etc")).unwrap();
        let read = files.read_at(passwd, 0, &mut [0; 8]);
        assert!(matches!(read, Err(ReadError::Io { .. })), "{read:?}");
        assert!(files.stat(Inode(99)).is_err(), "unknown inode");
        assert!(
            Directory::open(&scratch.path().join("host/passwd")).is_err(),
            "not a directory"
        );
    }
}
