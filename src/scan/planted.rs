//! A tree built file by file, for tests and fuzz targets.

use super::Root;
use crate::disk::read::{FileFlags, FileType, Time};
use crate::disk::tree::testing::InTree;
use crate::disk::tree::{Content, File, Tree};

/// A tree built file by file, with the directories above them.
#[derive(Clone, Default)]
pub struct Planted(Tree);

impl Planted {
    pub fn file(self, path: &str, mode: u16, content: impl Into<Vec<u8>>) -> Self {
        let content = Content::Bytes(content.into());
        self.with(path, of(FileType::File, mode, content))
    }

    pub fn with(mut self, path: &str, file: File) -> Self {
        for (end, _) in path.match_indices('/') {
            let above = if end == 0 { "/" } else { &path[..end] };
            if self.0.find(above.as_bytes()).is_none() {
                let directory = of(FileType::Directory, 0o755, Content::None);
                self.0.insert(above.as_bytes(), directory);
            }
        }
        self.0.insert(path.as_bytes(), file);
        self
    }

    pub fn root(&self) -> Root<'_> {
        Root::new(&self.0, &InTree)
    }
}

/// Returns an ordinary file owned by root, to be modified.
pub fn of(kind: FileType, mode: u16, content: Content) -> File {
    File {
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        flags: FileFlags::default(),
        rdev: None,
        xattrs: Vec::new(),
        content,
    }
}
