//! File trees and damaged inputs for tests.

use std::path::{Path, PathBuf};

use super::Root;
use crate::disk::read::{FileFlags, FileType, Time};
use crate::disk::tree::testing::InTree;
use crate::disk::tree::{Content, File, Tree};

/// A tree built file by file, with the directories above them.
#[derive(Default)]
pub struct Planted(Tree);

impl Planted {
    pub fn file(self, path: &str, mode: u16, content: impl Into<Vec<u8>>) -> Self {
        let content = Content::Bytes(content.into());
        self.with(path, of(FileType::File, mode, content))
    }

    pub fn directory(self, path: &str, mode: u16) -> Self {
        self.with(path, of(FileType::Directory, mode, Content::None))
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        let target = Content::Link(target.as_bytes().to_vec());
        self.with(path, of(FileType::Link, 0o777, target))
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

/// Returns the path of a file or directory of `tests/data`.
pub fn test_data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap()
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    const TEXTS: [&[u8]; 10] = [
        b"\n\n",
        b":",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\x7f\xff\xff\xff",
        b"{",
        b"\"",
        b"99999999999999999999",
        b"\xf0\x9f",
        b"-1",
    ];
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(40)).min(bytes.len());
        let text = TEXTS[random.below(TEXTS.len())];
        match random.below(7) {
            _ if bytes.is_empty() => return,
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = bytes[at].wrapping_add([1, 255, 4, 128][random.below(4)]),
            2 => drop(bytes.splice(at..at, text.iter().copied())),
            3 => {
                let end = (at + text.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&text[..end - at]);
            }
            4 => drop(bytes.drain(at..end)),
            5 => {
                let to = random.below(bytes.len());
                let copied = bytes[at..end].to_vec();
                bytes.splice(to..to, copied);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
}

/// Damages bytes in many deterministic ways and checks that `read` never panics. `make soak` raises the number of rounds
/// with `KARAT_SOAK_ROUNDS`.
pub fn soak(name: &str, bytes: &[u8], read: fn(&[u8]) -> bool) {
    let rounds = std::env::var("KARAT_SOAK_ROUNDS").ok();
    let rounds = rounds.and_then(|rounds| rounds.parse::<u64>().ok());
    let rounds = rounds.map_or(300, |rounds| rounds * 50);
    assert!(read(bytes), "{name}: undamaged input was rejected");
    let (mut good, mut bad) = (0, 0);
    for round in 0..rounds {
        let mut damaged = bytes.to_vec();
        damage(&mut damaged, &mut Random(round));
        let answer = std::panic::catch_unwind(|| read(&damaged));
        if answer.unwrap_or_else(|_| panic!("{name}, round {round}")) {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(bad > 0, "{name}: no damage was detected in {rounds} rounds");
    eprintln!("{name}: {rounds} rounds, {good} accepted and {bad} rejected");
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
