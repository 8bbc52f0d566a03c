//! Trees for tests of checks: files that are planted one by one.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Root;
use crate::disk::read::{Flags, Kind, Time};
use crate::disk::tree::testing::InTree;
use crate::disk::tree::{Content, File, Tree};

/// A tree to plant files in; directories above them are made.
#[derive(Default)]
pub struct Planted(Tree);

impl Planted {
    /// A regular file of root's.
    pub fn file(self, path: &str, mode: u16, content: impl Into<Vec<u8>>) -> Self {
        let content = Content::Bytes(content.into());
        self.with(path, of(Kind::File, mode, content))
    }

    /// An empty directory of root's.
    pub fn directory(self, path: &str, mode: u16) -> Self {
        self.with(path, of(Kind::Directory, mode, Content::None))
    }

    /// A symbolic link.
    pub fn link(self, path: &str, target: &str) -> Self {
        let target = Content::Link(target.as_bytes().to_vec());
        self.with(path, of(Kind::Link, 0o777, target))
    }

    /// Anything.
    pub fn with(mut self, path: &str, file: File) -> Self {
        for (end, _) in path.match_indices('/') {
            let above = if end == 0 { "/" } else { &path[..end] };
            if self.0.find(above.as_bytes()).is_none() {
                let directory = of(Kind::Directory, 0o755, Content::None);
                self.0.insert(above.as_bytes(), directory);
            }
        }
        self.0.insert(path.as_bytes(), file);
        self
    }

    /// What a check looks at.
    pub fn root(&self) -> Root<'_> {
        Root::new(&self.0, &InTree)
    }
}

/// Where a file or folder of the reference data is: in `KARAT_SCANDATA`, else beside the crate on machines that have it.
/// Never silently: whoever runs the tests sees what was not there.
pub fn reference(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("KARAT_SCANDATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/scandata"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    // Straight to the descriptor: the test harness captures what `eprintln!` prints.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: no reference data at {}",
        path.display()
    );
    None
}

/// A file of root's with nothing special about it, to be changed.
pub fn of(kind: Kind, mode: u16, content: Content) -> File {
    File {
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        flags: Flags::default(),
        rdev: None,
        xattrs: Vec::new(),
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_image() {
        let tree = Planted::default()
            .file("/usr/lib/os-release", 0o644, "ID=debian")
            .link("/etc/os-release", "../usr/lib/os-release")
            .link("/lib", "usr/lib")
            .link("/escape", "../../../usr/lib/./os-release")
            .link("/absolute", "/lib/os-release")
            .directory("/usr/empty", 0o755)
            .link("/loop", "loop")
            .link("/broken", "/nothing");
        let root = tree.root();
        for path in [
            "/etc/os-release",
            "/lib/os-release",
            "/escape",
            "/absolute",
            "/usr/../lib/os-release",
        ] {
            let read = root.read(path.as_bytes(), 100).unwrap();
            assert_eq!(read.as_deref(), Some(&b"ID=debian"[..]), "{path}");
        }
        for path in ["/loop", "/broken", "/nothing", "/lib"] {
            assert_eq!(root.read(path.as_bytes(), 100).unwrap(), None, "{path}");
        }
        let usr: Vec<_> = root.children(b"/usr").map(|(path, _)| path).collect();
        assert_eq!(usr, [&b"/usr/empty"[..], b"/usr/lib"]);
        let top: Vec<_> = root.children(b"/").map(|(path, _)| path).collect();
        assert_eq!(top.len(), 7, "{top:?}");
        assert!(root.read(b"/lib/os-release", 8).is_err(), "too large");
    }
}
