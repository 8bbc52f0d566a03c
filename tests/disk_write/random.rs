//! Trees that nobody thought of, from seeds, so that each run has the same.

use std::fs::File as Out;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use karat::disk::normalize::source::{Container, SourceDisk};
use karat::disk::read::ext4::{Ext4, Superblock, crc32c};
use karat::disk::read::partitions::Table;
use karat::disk::read::{BlockRead, FileFlags, FileType, RawFile, Time, Xattr};
use karat::disk::tree::{Content, Contents, File, Tree};
use karat::disk::write::{self, BaseDisk, Format, find_root};

use super::image::{assert_clean, run};
use super::{make, watch};

/// xorshift; see `noise`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[2]).collect()
    }

    /// Sizes of all magnitudes, small ones often.
    fn size(&mut self, most_bits: u64) -> u64 {
        let bits = self.below(most_bits + 1);
        self.below(1 << bits)
    }

    fn name(&mut self) -> Vec<u8> {
        let length = 1 + self.size(8).min(254);
        let alphabet = b"abcXYZ09._- \xc3\xa4\xff\x01";
        let mut name: Vec<u8> = (0..length)
            .map(|_| alphabet[usize::try_from(self.below(alphabet.len() as u64)).unwrap()])
            .collect();
        // Neither `.` nor `..`.
        name.push(b'x');
        name.truncate(255);
        name
    }

    fn content(&mut self) -> Content {
        let mut bytes = Vec::new();
        for _ in 0..=self.below(6) {
            let size = self.size(18);
            let piece = if self.below(2) == 0 {
                vec![0; size.try_into().unwrap()]
            } else {
                self.bytes(size)
            };
            bytes.extend(piece);
        }
        Content::Bytes(bytes)
    }

    fn file(&mut self, directory: bool) -> File {
        let kinds = [
            FileType::File,
            FileType::File,
            FileType::File,
            FileType::Link,
            FileType::Fifo,
            FileType::Socket,
            FileType::CharDevice,
            FileType::BlockDevice,
        ];
        let kind = if directory {
            FileType::Directory
        } else {
            kinds[usize::try_from(self.below(8)).unwrap()]
        };
        let content = match kind {
            FileType::File => self.content(),
            FileType::Link => {
                let length = 1 + self.size(10);
                Content::Link(vec![b't'; length.try_into().unwrap()])
            }
            _ => Content::None,
        };
        let device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        let small = |number: u64| u32::try_from(number).unwrap();
        let mut xattrs: Vec<_> = (0..self.below(4))
            .map(|number| {
                let size = self.size(8);
                Xattr {
                    name: format!("user.{number}{}", self.below(1000)).into_bytes(),
                    value: self.bytes(size),
                }
            })
            .collect();
        if !matches!(kind, FileType::File | FileType::Directory) || self.below(3) > 0 {
            xattrs.clear();
        }
        File {
            kind,
            mode: u16::try_from(self.below(0o10000)).unwrap(),
            uid: small(self.size(32)),
            gid: small(self.size(32)),
            mtime: Time {
                seconds: i64::try_from(self.below(1 << 34)).unwrap() - (1 << 31),
                nanoseconds: small(self.below(1_000_000_000)),
            },
            flags: FileFlags::default(),
            rdev: device.then(|| (small(self.size(12)), small(self.size(20)))),
            xattrs,
            content,
        }
    }

    fn tree(&mut self, mut tree: Tree) -> Tree {
        let mut directories = vec![b"/".to_vec()];
        for _ in 0..2 + self.below(20) {
            let parent =
                directories[usize::try_from(self.below(directories.len() as u64)).unwrap()].clone();
            let path = join(&parent, &self.name());
            if tree.find(&path).is_none() {
                let file = self.file(true);
                tree.insert(&path, file);
                directories.push(path);
            }
        }
        for directory in &directories {
            for _ in 0..self.size(9) {
                let path = join(directory, &self.name());
                if tree.find(&path).is_none() {
                    let file = self.file(false);
                    tree.insert(&path, file);
                }
            }
        }
        tree
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let parent = if parent == b"/" { b"" } else { parent };
    [parent, b"/", name].concat()
}

fn check(seed: u64, scratch: &Path, options: &str) {
    let base = make(scratch, 64, options);
    let source = SourceDisk::open(Arc::new(RawFile::open(&base).unwrap())).unwrap();
    let mut random = Random(seed);
    let tree = random.tree(source.tree().unwrap());
    let new = scratch.join(std::ffi::OsStr::from_bytes(b"new.img"));
    let file = Out::create_new(&new).unwrap();
    let size = (256 << 20) + random.below(64) * 512;
    let written = source
        .write(&tree, size, (Container::Raw, &file, &new), 2, watch())
        .unwrap();
    assert_clean(&new);
    written
        .check((Container::Raw, &file, &new), 2, watch())
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    // And once more from what was written: nothing of it depends on where things were.
    let again = scratch.join("again.img");
    let file = Out::create_new(&again).unwrap();
    let source = SourceDisk::open(Arc::new(RawFile::open(&new).unwrap())).unwrap();
    let second = source
        .write(
            &source.tree().unwrap(),
            size,
            (Container::Raw, &file, &again),
            1,
            watch(),
        )
        .unwrap();
    assert_eq!(written, second, "seed {seed}");
}

#[test]
fn any_tree_is_written_and_written_again_as_it_is() {
    for seed in 1..=12 {
        let options = [
            "-b 4096",
            "-b 1024",
            "-b 2048",
            "-b 4096 -O ^has_journal,^flex_bg",
        ];
        let options = options[usize::try_from(seed % 4).unwrap()];
        eprintln!("seed {seed}: {options}");
        check(seed, tempfile::tempdir().unwrap().path(), options);
    }
}

#[test]
fn names_that_have_the_same_hash_are_found() {
    let scratch = tempfile::tempdir().unwrap();
    let base = make(scratch.path(), 64, "-b 1024");
    // The old hash, of which it is easy to have many equal ones: pairs of bytes that are exchanged keep it nearly the same.
    run(
        "tune2fs",
        &["-E", "hash_alg=legacy", base.to_str().unwrap()],
    );
    let source = SourceDisk::open(Arc::new(RawFile::open(&base).unwrap())).unwrap();
    let mut tree = source.tree().unwrap();
    let template = Random(7).file(true);
    for number in 0..20_000_u32 {
        let file = File {
            kind: FileType::Fifo,
            ..template.clone()
        };
        tree.insert(
            format!("/{number:016b}").as_bytes(),
            File {
                xattrs: Vec::new(),
                ..file
            },
        );
    }
    let new = scratch.path().join("new.img");
    let file = Out::create_new(&new).unwrap();
    let written = source
        .write(&tree, 128 << 20, (Container::Raw, &file, &new), 2, watch())
        .unwrap();
    assert_clean(&new);
    written
        .check((Container::Raw, &file, &new), 2, watch())
        .unwrap();
}

#[test]
fn a_superblock_that_a_guest_has_spoilt_is_refused_or_written() {
    let scratch = tempfile::tempdir().unwrap();
    let base = make(scratch.path(), 64, "-b 4096");
    let disk: Arc<dyn BlockRead> = Arc::new(RawFile::open(&base).unwrap());
    let files = Ext4::open(disk.clone()).unwrap();
    let tree = Tree::read(&files).unwrap();
    let contents = Contents::read(&tree, &files, 4096, 1, watch()).unwrap();
    let root = find_root(&disk, &Table::None).unwrap();
    let mut random = Random(3);
    let mut made = 0;
    for _ in 0..400 {
        let mut raw = files.superblock().raw.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(0x280)).unwrap();
            let byte = random.next().to_le_bytes()[4];
            // Bits of features and small numbers more often than others.
            raw[at] = if random.below(2) == 0 {
                byte
            } else {
                raw[at] ^ 1 << (byte % 8)
            };
        }
        let checksum = crc32c(!0, &raw[..1020]);
        raw[1020..].copy_from_slice(&checksum.to_le_bytes());
        let format = Superblock::parse(&raw).map(|superblock| Format::from_superblock(&superblock));
        let Ok(Ok(format)) = format else { continue };
        let table = Table::None;
        let base = BaseDisk {
            disk: &disk,
            table: &table,
            root,
            format: &format,
        };
        let Ok(new) = write::disk(base, 64 << 20, &tree, &contents, &files) else {
            continue;
        };
        let mut piece = vec![0; 1 << 20];
        for at in (0..new.len()).step_by(1 << 20) {
            new.read_at(at, &mut piece).unwrap();
        }
        made += 1;
    }
    assert!(made > 50, "only {made} of them were written");
}

#[test]
fn an_image_that_reads_back_as_something_else_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let base = make(scratch.path(), 64, "-b 4096");
    let source = SourceDisk::open(Arc::new(RawFile::open(&base).unwrap())).unwrap();
    let mut tree = source.tree().unwrap();
    let text = b"what is meant to be in the image".to_vec();
    let file = File {
        kind: FileType::File,
        content: Content::Bytes(text.clone()),
        flags: FileFlags::default(),
        rdev: None,
        xattrs: Vec::new(),
        ..Random(7).file(true)
    };
    tree.insert(b"/text", file);
    let new = scratch.path().join("new.img");
    let file = Out::create_new(&new).unwrap();
    let target = (Container::Raw, &file, new.as_path());
    let written = source.write(&tree, 64 << 20, target, 2, watch()).unwrap();
    written.check(target, 2, watch()).unwrap();
    let bytes = std::fs::read(&new).unwrap();
    let at = bytes.windows(text.len()).position(|part| part == text);
    file.write_all_at(b"W", at.unwrap() as u64).unwrap();
    let refused = written.check(target, 2, watch()).unwrap_err().to_string();
    assert!(refused.contains("/text"), "{refused}");
}
