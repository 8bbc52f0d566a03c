//! What is seen of a file system: by karat, and by the kernel through a mount of the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use karat::digest::Digest;
use karat::disk::read::{
    DataRun, FileFlags, FileSystem, FileType, Metadata, ReadError, Time, walk,
};
use rustix::fs::{
    AtFlags, CWD, IFlags, SeekFrom, StatxFlags, StatxTimestamp, ioctl_getflags, lgetxattr,
    llistxattr, seek, statx,
};
use sha2::{Digest as _, Sha256};

/// No multiple of any block, so that reads start and end everywhere.
const PIECE: usize = 100_003;

/// All that is compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub metadata: Metadata,
    pub inode: u64,
    pub xattrs: Vec<(String, Digest, usize)>,
    pub target: Option<Vec<u8>>,
    pub runs: Vec<DataRun>,
    pub digest: Option<Digest>,
}

pub type Tree = BTreeMap<Vec<u8>, Seen>;

/// Everything as karat reads it.
pub fn ours(file_system: &dyn FileSystem) -> Result<Tree, ReadError> {
    let mut tree = Tree::new();
    walk(file_system, |path, inode, metadata| {
        let xattrs = file_system.xattrs(inode)?;
        let is = |kind| metadata.kind == kind;
        let runs = if is(FileType::File) {
            file_system.runs(inode)?
        } else {
            Vec::new()
        };
        let read = |offset, buffer: &mut [u8]| file_system.read_at(inode, offset, buffer).unwrap();
        let seen = Seen {
            metadata: metadata.clone(),
            inode: inode.0,
            xattrs: xattrs
                .iter()
                .map(|xattr| {
                    (
                        String::from_utf8(xattr.name.clone()).unwrap(),
                        Digest::of(&xattr.value),
                        xattr.value.len(),
                    )
                })
                .collect(),
            target: if is(FileType::Link) {
                Some(file_system.read_link(inode)?)
            } else {
                None
            },
            digest: is(FileType::File).then(|| digest(metadata.size, &runs, read)),
            runs,
        };
        tree.insert(path.to_vec(), seen);
        Ok::<_, ReadError>(())
    })?;
    Ok(tree)
}

/// The whole content; of a file of gigabytes of holes, its data and where that is.
fn digest(size: u64, runs: &[DataRun], read: impl Fn(u64, &mut [u8]) -> usize) -> Digest {
    let mut hasher = Sha256::new();
    let whole = [DataRun {
        offset: 0,
        length: size,
    }];
    for run in if size > 1 << 26 { runs } else { &whole } {
        hasher.update(run.offset.to_le_bytes());
        let mut buffer = vec![0xaa; PIECE];
        let mut at = run.offset;
        while at < run.offset + run.length {
            let wanted = PIECE.min(usize::try_from(run.offset + run.length - at).unwrap());
            let length = read(at, &mut buffer[..wanted]);
            assert!(length > 0, "a file ends at {at} instead of {size}");
            hasher.update(&buffer[..length]);
            at += length as u64;
        }
    }
    assert_eq!(read(size, &mut [0; 8]), 0, "bytes after the end");
    Digest::from_hasher(hasher)
}

/// Everything as the kernel shows it below a mount point.
pub fn kernels(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(std::ffi::OsStr::from_bytes(&path));
        let seen = kernel(&full);
        if seen.metadata.kind == FileType::Directory {
            for entry in std::fs::read_dir(&full).unwrap() {
                let name = entry.unwrap().file_name();
                let mut below = path.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend(name.as_bytes());
                todo.push(below);
            }
        }
        tree.insert(path, seen);
    }
    tree
}

fn kernel(path: &Path) -> Seen {
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::ALL).unwrap();
    let kind = FileType::from_mode(stat.stx_mode).unwrap();
    let time = |time: StatxTimestamp| Time {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    };
    let has_crtime = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let file =
        matches!(kind, FileType::File | FileType::Directory).then(|| File::open(path).unwrap());
    let metadata = Metadata {
        kind,
        mode: stat.stx_mode & 0xfff,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        links: stat.stx_nlink,
        atime: time(stat.stx_atime),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        crtime: has_crtime.then(|| time(stat.stx_btime)),
        rdev: matches!(kind, FileType::CharDevice | FileType::BlockDevice)
            .then_some((stat.stx_rdev_major, stat.stx_rdev_minor)),
        // What is copied into a file system may be on one without flags.
        flags: file
            .as_ref()
            .map(|file| ioctl_getflags(file).unwrap_or(IFlags::empty()))
            .map(|flags| FileFlags::from_bits(flags.bits()))
            .unwrap_or_default(),
        project: 0,
    };
    let file = file.filter(|_| kind == FileType::File);
    let runs = file
        .as_ref()
        .map(|file| data(file, metadata.size))
        .unwrap_or_default();
    Seen {
        inode: stat.stx_ino,
        xattrs: xattrs(path),
        target: (kind == FileType::Link).then(|| {
            std::fs::read_link(path)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .to_vec()
        }),
        digest: file.map(|file| {
            digest(metadata.size, &runs, |at, buffer| {
                file.read_at(buffer, at).unwrap()
            })
        }),
        runs,
        metadata,
    }
}

fn xattrs(path: &Path) -> Vec<(String, Digest, usize)> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            let mut value = vec![0; 1 << 16];
            let length = lgetxattr(path, name.as_str(), &mut value[..]).unwrap();
            (name, Digest::of(&value[..length]), length)
        })
        .collect();
    xattrs.sort();
    xattrs
}

fn data(file: &File, size: u64) -> Vec<DataRun> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(offset) = seek(file, SeekFrom::Data(at)) else {
            break;
        };
        at = seek(file, SeekFrom::Hole(offset)).unwrap();
        runs.push(DataRun {
            offset,
            length: at - offset,
        });
    }
    runs
}

/// Fails with the first differences.
pub fn assert_same(what: &str, ours: &Tree, kernels: &Tree) {
    let mut differences = Vec::new();
    for path in ours
        .keys()
        .chain(kernels.keys().filter(|path| !ours.contains_key(*path)))
    {
        let (ours, kernels) = (ours.get(path), kernels.get(path));
        // Flags of what cannot be opened are not shown by the kernel.
        let ours = ours.cloned().map(|mut seen| {
            if !matches!(seen.metadata.kind, FileType::File | FileType::Directory) {
                seen.metadata.flags = FileFlags::default();
            }
            seen.metadata.project = 0;
            seen
        });
        if ours.as_ref() != kernels {
            differences.push(format!(
                "{:?}:\n  karat  {ours:?}\n  kernel {kernels:?}",
                String::from_utf8_lossy(path)
            ));
        }
    }
    let first = differences
        .iter()
        .take(5)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        differences.is_empty(),
        "{what}: {} of {} paths differ\n{first}",
        differences.len(),
        kernels.len()
    );
}
