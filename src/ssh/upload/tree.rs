//! Lists the files and directories of an upload before it starts. Follows links.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::ssh::{SshError, UploadContent, UploadItem};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ItemKind {
    Content,
    File,
    Directory,
}

/// A member of the archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Directory,
    File { path: PathBuf, size: u64 },
    Content(Vec<u8>),
}

pub(super) const DIRECTORY_MODE: u32 = 0o755;

/// Returns true for a regular file. Errors are left to [`add`], which names the path.
pub(super) fn is_file(source: &UploadContent) -> bool {
    matches!(source, UploadContent::Path(path) | UploadContent::Named { path, .. } if path.is_file())
}

/// Adds an item's members under `g<group>/` and returns its kind and its name there.
pub(super) fn add(
    item: UploadItem,
    group: usize,
    members: &mut Vec<Member>,
) -> Result<(ItemKind, Vec<u8>), SshError> {
    let own_name = |path: &Path| {
        let name = path.file_name();
        name.map_or(&b"content"[..], |name| name.as_bytes())
            .to_vec()
    };
    let (path, base, content) = match item.source {
        UploadContent::Named { path, name } => (path, name.into_bytes(), None),
        UploadContent::Path(path) => {
            let base = own_name(&path);
            (path, base, None)
        }
        UploadContent::Bytes(bytes) => {
            let path = PathBuf::from(&item.destination);
            let base = own_name(&path);
            (path, base, Some(bytes))
        }
    };
    let name = [format!("g{group}/").as_bytes(), &base].concat();
    if let Some(bytes) = content {
        members.push(Member {
            name,
            mode: item.mode.unwrap_or(0o644),
            body: Body::Content(bytes),
        });
        return Ok((ItemKind::Content, base));
    }
    let metadata = read_metadata(&path)?;
    let kind = if metadata.is_dir() {
        ItemKind::Directory
    } else {
        ItemKind::File
    };
    let mut walk = Walk {
        mode: item.mode,
        above: Vec::new(),
        members,
    };
    walk.visit(&path, name, &metadata)?;
    Ok((kind, base))
}

struct Walk<'a> {
    mode: Option<u32>,
    /// Device and inode of the directories above, to detect link loops.
    above: Vec<(u64, u64)>,
    members: &'a mut Vec<Member>,
}

impl Walk<'_> {
    fn visit(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) -> Result<(), SshError> {
        if metadata.is_file() {
            let is_executable = metadata.permissions().mode() & 0o111 != 0;
            self.members.push(Member {
                name,
                mode: self
                    .mode
                    .unwrap_or(if is_executable { 0o755 } else { 0o644 }),
                body: Body::File {
                    path: path.to_owned(),
                    size: metadata.len(),
                },
            });
            return Ok(());
        }
        if !metadata.is_dir() {
            return Err(unsendable(path, "it is neither a file nor a directory"));
        }
        let identity = (metadata.dev(), metadata.ino());
        if self.above.contains(&identity) {
            return Err(unsendable(
                path,
                "the link forms a loop with a directory above it",
            ));
        }
        self.above.push(identity);
        self.members.push(Member {
            name: [&name[..], b"/"].concat(),
            mode: DIRECTORY_MODE,
            body: Body::Directory,
        });
        for inside in sorted(path)? {
            let child = [&name[..], b"/", inside.as_bytes()].concat();
            let path = path.join(&inside);
            let metadata = read_metadata(&path)?;
            self.visit(&path, child, &metadata)?;
        }
        self.above.pop();
        Ok(())
    }
}

fn sorted(directory: &Path) -> Result<Vec<std::ffi::OsString>, SshError> {
    let names = || {
        let mut names = fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    names().map_err(|source| SshError::Source {
        path: directory.to_owned(),
        source,
    })
}

/// Reads a path's metadata, with a clear error for broken and circular links.
fn read_metadata(path: &Path) -> Result<Metadata, SshError> {
    fs::metadata(path).map_err(|source| match fs::read_link(path) {
        Ok(_) if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            unsendable(path, "the link leads in a loop")
        }
        Ok(to) if source.kind() == io::ErrorKind::NotFound => {
            unsendable(path, &format!("it is a broken link to {}", to.display()))
        }
        _ => SshError::Source {
            path: path.to_owned(),
            source,
        },
    })
}

fn unsendable(path: &Path, problem: &str) -> SshError {
    SshError::Unsendable {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}
