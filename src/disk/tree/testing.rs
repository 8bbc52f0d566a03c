//! Support for tests of trees that contain all their contents.

use crate::disk::read::{Entry, FileSystem, Inode, Metadata, ReadError, Run, Xattr};

/// A file system that is never read.

pub struct InTree;

impl FileSystem for InTree {
    fn root(&self) -> Inode {
        unreachable!()
    }
    fn stat(&self, _: Inode) -> Result<Metadata, ReadError> {
        unreachable!()
    }
    fn read_dir(&self, _: Inode) -> Result<Vec<Entry>, ReadError> {
        unreachable!()
    }
    fn read_link(&self, _: Inode) -> Result<Vec<u8>, ReadError> {
        unreachable!()
    }
    fn xattrs(&self, _: Inode) -> Result<Vec<Xattr>, ReadError> {
        unreachable!()
    }
    fn runs(&self, _: Inode) -> Result<Vec<Run>, ReadError> {
        unreachable!()
    }
    fn read_at(&self, _: Inode, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
        unreachable!()
    }
}
