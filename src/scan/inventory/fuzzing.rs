//! What an inventory makes of bytes that may be anything: what fuzzers and the soak drive. Each answers whether they could be
//! read; the targets for cargo-fuzz in `tests/fuzz` are one line each.

use super::{read, rpm};
use crate::disk::read::{
    Entry, FileSystem, Flags, Inode, Kind, Metadata, ReadError, Run, Time, Xattr,
};
use crate::disk::tree::{Content, File, Tree};
use crate::scan::{Root, integrity};

/// The status file of dpkg.
#[must_use]
pub fn status(bytes: &[u8]) -> bool {
    alone("/var/lib/dpkg/status", bytes)
}

/// Alpine's database.
#[must_use]
pub fn apk(bytes: &[u8]) -> bool {
    alone("/lib/apk/db/installed", bytes)
}

/// RPM's database, which is one of `SQLite`.
#[must_use]
pub fn sqlite(bytes: &[u8]) -> bool {
    alone("/var/lib/rpm/rpmdb.sqlite", bytes)
}

/// The header of one package in it.
#[must_use]
pub fn header(bytes: &[u8]) -> bool {
    rpm::of_header(bytes).is_some()
}

/// A program, which may say what it was made from.
#[must_use]
pub fn program(bytes: &[u8]) -> bool {
    says_something("/usr/local/bin/program", bytes)
}

/// What a Python package says of itself.
#[must_use]
pub fn python(bytes: &[u8]) -> bool {
    says_something("/x.dist-info/METADATA", bytes)
}

/// What an npm package says of itself.
#[must_use]
pub fn npm(bytes: &[u8]) -> bool {
    says_something("/node_modules/x/package.json", bytes)
}

fn alone(path: &str, bytes: &[u8]) -> bool {
    let tree = tree(path, bytes);
    let root = Root::new(&tree, &Nothing);
    // The paths and checksums in it are another reader's.
    let verified = integrity::verify(&root, 1).is_ok();
    verified && read(&root).is_ok_and(|found| !found.packages.is_empty())
}

fn says_something(path: &str, bytes: &[u8]) -> bool {
    let tree = tree(path, bytes);
    read(&Root::new(&tree, &Nothing)).is_ok_and(|found| !found.language.is_empty())
}

/// One file in its directories.
fn tree(path: &str, bytes: &[u8]) -> Tree {
    let mut tree = Tree::default();
    for (end, _) in path.match_indices('/') {
        tree.insert(
            &path.as_bytes()[..end.max(1)],
            file(Kind::Directory, Content::None),
        );
    }
    tree.insert(
        path.as_bytes(),
        file(Kind::File, Content::Bytes(bytes.to_vec())),
    );
    tree
}

fn file(kind: Kind, content: Content) -> File {
    File {
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        flags: Flags::default(),
        rdev: None,
        xattrs: Vec::new(),
        content,
    }
}

/// A file system that has nothing: all there is is in the tree.
struct Nothing;

impl Nothing {
    fn none<T>() -> Result<T, ReadError> {
        Err(ReadError::Damaged {
            part: "file system",
            problem: "there is none".to_owned(),
        })
    }
}

impl FileSystem for Nothing {
    fn root(&self) -> Inode {
        Inode(0)
    }
    fn stat(&self, _: Inode) -> Result<Metadata, ReadError> {
        Self::none()
    }
    fn read_dir(&self, _: Inode) -> Result<Vec<Entry>, ReadError> {
        Self::none()
    }
    fn read_link(&self, _: Inode) -> Result<Vec<u8>, ReadError> {
        Self::none()
    }
    fn xattrs(&self, _: Inode) -> Result<Vec<Xattr>, ReadError> {
        Self::none()
    }
    fn runs(&self, _: Inode) -> Result<Vec<Run>, ReadError> {
        Self::none()
    }
    fn read_at(&self, _: Inode, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
        Self::none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{language, rpm};
    use super::*;
    use crate::scan::testing::{reference, soak};

    /// What Debian's dpkg has really written, from the reference data or from this machine.
    fn real_status() -> Vec<u8> {
        let places = [
            reference("debian12-docker/root/var/lib/dpkg/status"),
            Some("/var/lib/dpkg/status".into()),
        ];
        let mut read = places.into_iter().flatten().map(std::fs::read);
        read.find_map(Result::ok).unwrap_or_else(|| {
            b"Package: hello\nStatus: install ok installed\nVersion: 2.10-3\n".to_vec()
        })
    }

    #[test]
    fn damaged_databases_of_packages_give_packages_or_an_error() {
        soak("dpkg status", &real_status(), status);
        let paragraph = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nF:lib\nR:ld.so\n\n";
        soak("apk", paragraph.repeat(9).as_bytes(), apk);
        soak("rpm database", &rpm::tests::sample(), sqlite);
        soak("rpm header", &rpm::tests::sample_header(), header);
    }

    #[test]
    fn damaged_packages_of_languages_give_something_or_nothing() {
        soak(
            "go program",
            &language::tests::go_program("example.org/a"),
            program,
        );
        soak("rust program", &language::tests::rust_program(), program);
        let metadata = b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\nLicense: MIT\n\nbody\n";
        soak("python", metadata, python);
        let package = br#"{"name": "@a/b", "version": "1.0.0", "license": {"type": "MIT"}, "more": [1, null]}"#;
        soak("npm", package, npm);
    }
}
