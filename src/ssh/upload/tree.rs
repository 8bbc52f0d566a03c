//! What is to be sent, found before anything is: files and directories, links followed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::ssh::{Item, ItemSource, SshError};

/// What an item is as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Content,
    File,
    Directory,
}

/// One member of the archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its name in the archive.
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

/// Whether a source is a file, as far as that can be told; errors come later, with names.
pub(super) fn is_file(source: &ItemSource) -> bool {
    matches!(source, ItemSource::Path(path) | ItemSource::Named { path, .. } if path.is_file())
}

/// Adds an item's members under `g<group>/` and returns what it is, and its name there.
pub(super) fn add(
    item: Item,
    group: usize,
    entries: &mut Vec<Entry>,
) -> Result<(Kind, Vec<u8>), SshError> {
    let own_name = |path: &Path| {
        let name = path.file_name();
        name.map_or(&b"content"[..], |name| name.as_bytes())
            .to_vec()
    };
    let (path, base, content) = match item.source {
        ItemSource::Named { path, name } => (path, name.into_bytes(), None),
        ItemSource::Path(path) => {
            let base = own_name(&path);
            (path, base, None)
        }
        ItemSource::Bytes(bytes) => {
            let path = PathBuf::from(&item.destination);
            let base = own_name(&path);
            (path, base, Some(bytes))
        }
    };
    let name = [format!("g{group}/").as_bytes(), &base].concat();
    if let Some(bytes) = content {
        entries.push(Entry {
            name,
            mode: item.mode.unwrap_or(0o644),
            body: Body::Content(bytes),
        });
        return Ok((Kind::Content, base));
    }
    let metadata = look(&path)?;
    let kind = if metadata.is_dir() {
        Kind::Directory
    } else {
        Kind::File
    };
    let mut walk = Walk {
        mode: item.mode,
        above: Vec::new(),
        entries,
    };
    walk.visit(&path, name, &metadata)?;
    Ok((kind, base))
}

struct Walk<'a> {
    mode: Option<u32>,
    /// Device and inode of the directories above, by which a loop is noticed.
    above: Vec<(u64, u64)>,
    entries: &'a mut Vec<Entry>,
}

impl Walk<'_> {
    fn visit(&mut self, path: &Path, name: Vec<u8>, metadata: &Metadata) -> Result<(), SshError> {
        if metadata.is_file() {
            let is_executable = metadata.permissions().mode() & 0o111 != 0;
            self.entries.push(Entry {
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
                "the link leads back to a directory above it: a loop",
            ));
        }
        self.above.push(identity);
        self.entries.push(Entry {
            name: [&name[..], b"/"].concat(),
            mode: DIRECTORY_MODE,
            body: Body::Directory,
        });
        for inside in sorted(path)? {
            let child = [&name[..], b"/", inside.as_bytes()].concat();
            let path = path.join(&inside);
            let metadata = look(&path)?;
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

/// What a path leads to; says when it is a link that leads nowhere.
fn look(path: &Path) -> Result<Metadata, SshError> {
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
