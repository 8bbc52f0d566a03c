//! Opens an image file, an unpacked root directory or an image of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;

use super::ScanError;
use crate::disk::read::directory::Directory;
use crate::disk::read::ext4::Ext4;
use crate::disk::read::qcow2::{Layer, Qcow2, open_chain};
use crate::disk::read::{BlockRead, FileSystem, ReadError, find_roots};
use crate::disk::{self, tree::Tree};

/// Directories of which every root has one; that of a container may lack the other.
const ROOT_DIRECTORIES: [&str; 2] = ["etc", "usr"];

/// An opened root file system.
pub struct Opened {
    files: Box<dyn FileSystem>,
    tree: Tree,
    disk: Option<Arc<dyn BlockRead>>,
    /// Temporary raw disk, removed with this value.
    _converted: Option<TempPath>,
}

impl Opened {
    pub fn root(&self) -> super::Root<'_> {
        super::Root::new(&self.tree, &*self.files)
    }

    /// Returns the whole disk, or `None` for a directory.
    pub fn disk(&self) -> Option<&Arc<dyn BlockRead>> {
        self.disk.as_ref()
    }

    fn new(
        files: Box<dyn FileSystem>,
        disk: Option<Arc<dyn BlockRead>>,
    ) -> Result<Self, ScanError> {
        Ok(Self {
            tree: Tree::read(&*files)?,
            files,
            disk,
            _converted: None,
        })
    }
}

/// Opens the root file system in a directory or image file, in any format that karat or `qemu-img` reads.
pub async fn open(path: &Path) -> Result<Opened, ScanError> {
    if path.is_dir() {
        if !ROOT_DIRECTORIES.iter().any(|name| path.join(name).is_dir()) {
            return Err(ScanError::NotARoot(path.to_owned()));
        }
        return Opened::new(Box::new(Directory::open(path)?), None);
    }
    let format = disk::native_format(path).map_err(|source| ReadError::Io {
        what: path.display().to_string(),
        source,
    })?;
    disk::require_whole_disk(path)?;
    let Some(format) = format else {
        let raw = converted(path).await?;
        let opened = disk(&Layer::Raw(raw.to_path_buf()))?;
        return Ok(Opened {
            _converted: Some(raw),
            ..opened
        });
    };
    let opened = match format {
        "qcow2" => disk(&Layer::Qcow2(path.to_owned())),
        _ => disk(&Layer::Raw(path.to_owned())),
    };
    if let Err(ScanError::NoRoot { .. }) = &opened {
        disk::require_disk(&disk::BaseImage {
            path: path.to_owned(),
            format: format.to_owned(),
        })?;
    }
    opened
}

/// Opens an image of the store in its manifest's format: bytes that the guest wrote must not decide how it is read.
pub async fn recorded(path: &Path, format: &str) -> Result<Opened, ScanError> {
    match format {
        "qcow2" => disk(&Layer::Qcow2(path.to_owned())),
        "raw" => disk(&Layer::Raw(path.to_owned())),
        _ => open(path).await,
    }
}

/// Opens a qcow2 or raw image that is not a file of its own; errors call it `name`.
pub fn bytes(
    image: impl BlockRead + 'static,
    is_qcow2: bool,
    name: &Path,
) -> Result<Opened, ScanError> {
    if is_qcow2 {
        return system(Arc::new(Qcow2::open(image, None)?), name);
    }
    system(Arc::new(image), name)
}

fn disk(layer: &Layer) -> Result<Opened, ScanError> {
    let (Layer::Raw(path) | Layer::Qcow2(path)) = layer;
    system(open_chain(std::slice::from_ref(layer))?, path)
}

fn system(disk: Arc<dyn BlockRead>, path: &Path) -> Result<Opened, ScanError> {
    let root = find_root(&disk, path)?;
    Opened::new(Box::new(root), Some(disk))
}

/// Finds the only ext4 file system of a disk that has the directories of a root file system.
fn find_root(disk: &Arc<dyn BlockRead>, path: &Path) -> Result<Ext4, ScanError> {
    let mut roots = find_roots(disk)?;
    let no_root = |found: &str| ScanError::NoRoot {
        path: path.to_owned(),
        found: found.to_owned(),
    };
    match (
        roots.found.pop(),
        roots.found.is_empty(),
        roots.others,
        roots.unsupported,
    ) {
        (Some((_, root)), true, ..) => Ok(root),
        (Some(_), false, ..) => Err(no_root("several ext4 file systems with /etc and /usr")),
        (None, _, _, Some(unsupported)) => Err(no_root(unsupported)),
        (None, _, 0, None) => Err(no_root("no ext4 file system")),
        (None, ..) => Err(no_root("only ext4 file systems without /etc and /usr")),
    }
}

/// Converts a disk of another format into a temporary raw disk.
async fn converted(path: &Path) -> Result<TempPath, ScanError> {
    let raw = tempfile::Builder::new()
        .prefix("karat-scan-")
        .tempfile()
        .map_err(|source| disk::DiskError::Write {
            path: PathBuf::from("a temporary file"),
            source,
        })?
        .into_temp_path();
    disk::to_raw(path, &raw).await?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};

    use super::*;

    fn run(program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let status = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }

    #[tokio::test]
    async fn the_same_system_is_found_in_every_container() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).display().to_string();
        for name in ["etc", "usr"] {
            fs::create_dir_all(scratch.path().join("root").join(name)).unwrap();
        }
        fs::write(at("root/etc/os-release"), "ID=debian\n").unwrap();
        fs::write(at("raw"), "").unwrap();
        run("truncate", &["-s", "16M", &at("raw")]);
        run(
            "/sbin/mke2fs",
            &["-q", "-t", "ext4", "-d", &at("root"), &at("raw")],
        );
        for (format, name) in [
            ("qcow2", "qcow2"),
            ("vmdk", "vmdk"),
            ("vpc", "vhd"),
            ("vdi", "vdi"),
        ] {
            run(
                "qemu-img",
                &["convert", "-f", "raw", "-O", format, &at("raw"), &at(name)],
            );
        }
        for name in ["root", "raw", "qcow2", "vmdk", "vhd", "vdi"] {
            let opened = open(Path::new(&at(name))).await.unwrap();
            let read = opened.root().read(b"/etc/os-release", 100).unwrap();
            assert_eq!(read.as_deref(), Some(&b"ID=debian\n"[..]), "{name}");
            assert_eq!(opened.disk().is_none(), name == "root", "{name}");
        }
    }

    #[tokio::test]
    async fn a_disk_without_a_system_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("zeros"), vec![0; 1 << 20]).unwrap();
        fs::write(at("short"), "x").unwrap();
        fs::create_dir(at("empty")).unwrap();
        fs::write(at("false.qcow2"), b"QFI\xfb and no more").unwrap();
        fs::write(at("data"), vec![0; 8 << 20]).unwrap();
        run(
            "/sbin/mke2fs",
            &["-q", "-t", "ext4", &at("data").display().to_string()],
        );
        for (name, expected) in [
            ("zeros", "no ext4"),
            ("short", "not a disk image"),
            ("empty", "not the root of a system"),
            ("false.qcow2", "qcow2"),
            ("data", "without /etc"),
            ("missing", "cannot read"),
        ] {
            match open(&at(name)).await {
                Err(error) => assert!(error.to_string().contains(expected), "{name}: {error}"),
                Ok(_) => panic!("{name} was opened"),
            }
        }
    }
}
