//! File trees and damaged inputs for tests.

use std::path::{Path, PathBuf};

use crate::disk::read::{FileType, Xattr};
use crate::disk::tree::Content;
use crate::scan::inventory::{Manager, Package};

pub use super::planted::{Planted, of};

impl Planted {
    pub fn directory(self, path: &str, mode: u16) -> Self {
        self.with(path, of(FileType::Directory, mode, Content::None))
    }

    pub fn link(self, path: &str, target: &str) -> Self {
        let target = Content::Link(target.as_bytes().to_vec());
        self.with(path, of(FileType::Link, 0o777, target))
    }

    /// Plants the files of a table in `tests/data`, whose README describes the columns. The names of `texts` stand for them.
    pub fn table<T: AsRef<str>>(self, name: &str, texts: &[(&str, T)]) -> Self {
        let rows = table::<3>(name).into_iter();
        rows.fold(self, |tree, row| tree.row(&row, texts))
    }

    fn row<T: AsRef<str>>(self, row: &[String; 3], texts: &[(&str, T)]) -> Self {
        let [path, properties, content] = row;
        let mut content = unescape(content);
        for (name, text) in texts {
            content = content.replace(name, text.as_ref());
        }
        let mut properties = properties.split(' ');
        let mode = properties.next().unwrap();
        let digits = mode.trim_start_matches(|kind: char| kind.is_ascii_lowercase());
        let (kind, content) = match &mode[..mode.len() - digits.len()] {
            "" => (FileType::File, Content::Bytes(content.into())),
            "l" => (FileType::Link, Content::Link(content.into())),
            "d" => (FileType::Directory, Content::None),
            "s" => (FileType::Socket, Content::None),
            "b" => (FileType::BlockDevice, Content::None),
            "c" => (FileType::CharDevice, Content::None),
            kind => panic!("{path}: unknown kind {kind}"),
        };
        let mut file = of(kind, u16::from_str_radix(digits, 8).unwrap(), content);
        for property in properties {
            let (name, value) = property.split_once('=').unwrap_or((property, ""));
            match name {
                "uid" => file.uid = value.parse().unwrap(),
                "gid" => file.gid = value.parse().unwrap(),
                "mtime" => file.mtime.seconds = value.parse().unwrap(),
                "dev" => {
                    let (major, minor) = value.split_once(',').unwrap();
                    file.rdev = Some((major.parse().unwrap(), minor.parse().unwrap()));
                }
                "capable" => file.xattrs.push(Xattr {
                    name: b"security.capability".to_vec(),
                    value: vec![1],
                }),
                _ => panic!("{path}: unknown property {property}"),
            }
        }
        self.with(path, file)
    }
}

/// Returns the keys and the tree of each case of a table: `start` with the files of the case planted in it. Its first file
/// has the keys in front; the path `-` there stands for an empty tree instead of `start`.
pub fn cases<const KEYS: usize, const COLUMNS: usize, T: AsRef<str>>(
    name: &str,
    start: &Planted,
    texts: &[(&str, T)],
) -> Vec<([String; KEYS], Planted)> {
    let mut cases: Vec<([String; KEYS], Planted)> = Vec::new();
    for row in table::<COLUMNS>(name) {
        let keys: [String; KEYS] = row[..KEYS].to_vec().try_into().unwrap();
        let file: [String; 3] = row[KEYS..].to_vec().try_into().unwrap();
        if file[0] == "-" {
            cases.push((keys, Planted::default()));
            continue;
        }
        let (keys, tree) = cases
            .pop_if(|_| keys[0].is_empty())
            .unwrap_or_else(|| (keys, start.clone()));
        cases.push((keys, tree.row(&file, texts)));
    }
    cases
}

/// Returns the rows of a table in `tests/data`, without comments.
pub fn table<const COLUMNS: usize>(name: &str) -> Vec<[String; COLUMNS]> {
    let text = std::fs::read_to_string(test_data(name)).unwrap();
    let rows = text
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('\t').map(str::to_owned).collect();
        cells.try_into().unwrap()
    })
    .collect()
}

/// Replaces the escapes of Rust.
pub fn unescape(text: &str) -> String {
    let mut rest = text.chars();
    let mut plain = String::new();
    while let Some(letter) = rest.next() {
        let escaped = if letter == '\\' { rest.next() } else { None };
        plain.push(match escaped {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                char::from(u8::from_str_radix(&digits, 16).unwrap())
            }
            escaped => escaped.unwrap_or(letter),
        });
    }
    plain
}

/// Returns an installed package that has its own name as source.
pub fn package(manager: Manager, name: &str, version: &str) -> Package {
    Package {
        manager,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        source: name.to_owned(),
        source_version: version.to_owned(),
        status: String::new(),
        license: String::new(),
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
