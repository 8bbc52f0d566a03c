//! A directory of this machine as a file system: what the kernel shows of a mounted image.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use karat::disk::read::{
    DataRun, DirectoryEntry, FileFlags, FileSystem, FileType, Inode, Metadata, ReadError, Time,
    Xattr,
};
use rustix::fs::{IFlags, Mode, OFlags};

/// The files below a directory.
pub struct Host {
    root: Inode,
    paths: Mutex<HashMap<Inode, PathBuf>>,
}

impl Host {
    pub fn new(root: &Path) -> Self {
        let inode = Inode(root.metadata().unwrap().ino());
        Self {
            root: inode,
            paths: Mutex::new(HashMap::from([(inode, root.to_owned())])),
        }
    }

    fn path(&self, inode: Inode) -> PathBuf {
        self.paths.lock().unwrap()[&inode].clone()
    }
}

impl FileSystem for Host {
    fn root(&self) -> Inode {
        self.root
    }

    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
        let path = self.path(inode);
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = FileType::from_mode(u16::try_from(stat.mode() >> 12 << 12).unwrap()).unwrap();
        let time = |seconds, nanoseconds: i64| Time {
            seconds,
            nanoseconds: nanoseconds.try_into().unwrap(),
        };
        let device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        Ok(Metadata {
            kind,
            mode: u16::try_from(stat.mode() & 0o7777).unwrap(),
            uid: stat.uid(),
            gid: stat.gid(),
            size: stat.size(),
            links: stat.nlink().try_into().unwrap(),
            atime: time(stat.atime(), stat.atime_nsec()),
            mtime: time(stat.mtime(), stat.mtime_nsec()),
            ctime: time(stat.ctime(), stat.ctime_nsec()),
            crtime: None,
            rdev: device.then(|| {
                (
                    rustix::fs::major(stat.rdev()),
                    rustix::fs::minor(stat.rdev()),
                )
            }),
            flags: flags(&path, kind),
            project: 0,
        })
    }

    fn read_dir(&self, inode: Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        let mut entries: Vec<_> = fs::read_dir(self.path(inode))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                // Not what the directory says: a mount point would differ.
                let inode = Inode(fs::symlink_metadata(entry.path()).unwrap().ino());
                self.paths.lock().unwrap().insert(inode, entry.path());
                DirectoryEntry {
                    name: entry.file_name().as_bytes().into(),
                    inode,
                    kind: None,
                }
            })
            .collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError> {
        Ok(fs::read_link(self.path(inode))
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec())
    }

    fn xattrs(&self, inode: Inode) -> Result<Vec<Xattr>, ReadError> {
        let path = self.path(inode);
        let mut names = vec![0; 1 << 16];
        let length = rustix::fs::llistxattr(&path, &mut names[..]).unwrap();
        let mut xattrs: Vec<_> = names[..length]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| {
                let mut value = vec![0; 1 << 17];
                let length = rustix::fs::lgetxattr(&path, name, &mut value[..]).unwrap();
                value.truncate(length);
                Xattr {
                    name: name.to_vec(),
                    value,
                }
            })
            .collect();
        xattrs.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(xattrs)
    }

    fn runs(&self, inode: Inode) -> Result<Vec<DataRun>, ReadError> {
        let length = self.stat(inode)?.size;
        Ok(vec![DataRun { offset: 0, length }])
    }

    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let file = File::open(self.path(inode)).unwrap();
        let mut done = 0;
        while done < buffer.len() {
            match file
                .read_at(&mut buffer[done..], offset + done as u64)
                .unwrap()
            {
                0 => break,
                read => done += read,
            }
        }
        Ok(done)
    }
}

fn flags(path: &Path, kind: FileType) -> FileFlags {
    if !matches!(kind, FileType::File | FileType::Directory) {
        return FileFlags::default();
    }
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty()).unwrap();
    let set = rustix::fs::ioctl_getflags(&file).unwrap();
    let kept = IFlags::IMMUTABLE | IFlags::APPEND | IFlags::NODUMP | IFlags::NOATIME;
    FileFlags::from_bits((set & kept).bits())
}
