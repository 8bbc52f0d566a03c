//! Support for tests of trees that contain all their contents.

use crate::disk::read::{DataRun, DirectoryEntry, FileSystem, Inode, Metadata, ReadError, Xattr};

/// A file system that is never read.
pub struct InTree;

impl FileSystem for InTree {
    fn root(&self) -> Inode {
        unreachable!()
    }
    fn stat(&self, _: Inode) -> Result<Metadata, ReadError> {
        unreachable!()
    }
    fn read_dir(&self, _: Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        unreachable!()
    }
    fn read_link(&self, _: Inode) -> Result<Vec<u8>, ReadError> {
        unreachable!()
    }
    fn xattrs(&self, _: Inode) -> Result<Vec<Xattr>, ReadError> {
        unreachable!()
    }
    fn runs(&self, _: Inode) -> Result<Vec<DataRun>, ReadError> {
        unreachable!()
    }
    fn read_at(&self, _: Inode, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
        unreachable!()
    }
}
