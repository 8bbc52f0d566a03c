//! One of everything that a root file system can have.

use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};

/// Fills a mounted file system. `names` are to be in one directory.
pub fn fill(root: &Path, names: usize) {
    let at = |name: &str| root.join(name);
    for directory in [
        "etc",
        "usr/share/empty",
        "var/spool",
        "many",
        "deep/a/b/c/d/e/f/g/h",
    ] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for name in 0..names {
        fs::write(at(&format!("many/a file whose name is number {name}")), "").unwrap();
    }
    contents(root);
    kinds(root);
    owners(root);
    times(root);
    attributes(root);
}

fn contents(root: &Path) {
    let bytes = |count: usize| {
        (0..count)
            .map(|at| u8::try_from(at * at % 251).unwrap())
            .collect::<Vec<u8>>()
    };
    for (name, size) in [
        ("empty", 0),
        ("one", 1),
        ("block", 4096),
        ("more", 4097),
        ("large", 3_000_001),
    ] {
        fs::write(root.join(name), bytes(size)).unwrap();
    }
    fs::write(root.join("zeros"), vec![0; 1 << 20]).unwrap();
    // One block in two, so that its map is a tree.
    let sparse = File::create(root.join("sparse")).unwrap();
    for piece in 0..2500 {
        sparse.write_all_at(b"data", piece * 8192).unwrap();
    }
    fs::hard_link(root.join("more"), root.join("etc/same as more")).unwrap();
    fs::hard_link(root.join("more"), root.join("A name that comes first")).unwrap();
    let name = std::ffi::OsStr::from_bytes(b"not \xff UTF-8 \n\"");
    fs::write(root.join(name), "x").unwrap();
    fs::write(root.join("n".repeat(255)), "longest name").unwrap();
}

/// A file of more than 4 GiB, most of it a hole.
pub fn huge(root: &Path) {
    let huge = File::create(root.join("huge")).unwrap();
    huge.write_all_at(b"start", 0).unwrap();
    huge.write_all_at(b"beyond 4 GiB", (4 << 30) + 12_345)
        .unwrap();
    huge.set_len((4 << 30) + 100_000).unwrap();
}

/// A file with an attribute that is larger than a block.
pub fn large_attribute(root: &Path) {
    fs::write(root.join("large attribute"), "").unwrap();
    let value: Vec<u8> = (0..60_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    lsetxattr(
        root.join("large attribute"),
        "user.large",
        &value,
        XattrFlags::empty(),
    )
    .unwrap();
}

/// A file of swap space, which must not have holes.
pub fn swap(root: &Path) {
    let mut swap = vec![0; 1 << 20];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(root.join("swapfile"), swap).unwrap();
}

fn kinds(root: &Path) {
    for (name, target) in [
        ("short", "etc".to_owned()),
        ("59", "t".repeat(59)),
        ("60", "t".repeat(60)),
        ("long", "t".repeat(1000)),
    ] {
        symlink(target, root.join(format!("link {name}"))).unwrap();
    }
    let node = |name: &str, kind, major, minor| {
        mknodat(
            CWD,
            root.join(name),
            kind,
            Mode::from_raw_mode(0o640),
            makedev(major, minor),
        )
        .unwrap();
    };
    node("pipe", FileType::Fifo, 0, 0);
    node("socket", FileType::Socket, 0, 0);
    node("null", FileType::CharacterDevice, 1, 3);
    node("nvme", FileType::BlockDevice, 259, 70_000);
}

fn owners(root: &Path) {
    let owned = root.join("owned");
    fs::write(&owned, "owned").unwrap();
    std::os::unix::fs::chown(&owned, Some(100_000), Some(4_000_000_000)).unwrap();
    fs::set_permissions(&owned, fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("var/spool"), fs::Permissions::from_mode(0o1777)).unwrap();
}

fn times(root: &Path) {
    let epoch = SystemTime::UNIX_EPOCH;
    for (name, time) in [
        ("1902", epoch - Duration::new(2_145_000_001, 0)),
        ("1969", epoch - Duration::new(1, 500)),
        ("2038", epoch + Duration::new(2_147_483_648, 999_999_999)),
        ("2200", epoch + Duration::new(7_258_118_401, 0)),
        ("2446", epoch + Duration::from_secs(15_032_385_535)),
    ] {
        let file = File::create(root.join(name)).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }
}

fn attributes(root: &Path) {
    let set = |file: &str, name: &str, value: &[u8]| {
        if !root.join(file).exists() {
            fs::write(root.join(file), file).unwrap();
        }
        lsetxattr(root.join(file), name, value, XattrFlags::empty()).unwrap();
    };
    set("one attribute", "user.comment", b"short");
    set("no value", "user.empty", b"");
    set("many attributes", "user.first", &[1; 60]);
    set("many attributes", "user.second", &[2; 300]);
    set("many attributes", "trusted.third", b"3");
    // cap_net_raw=ep
    set(
        "ping",
        "security.capability",
        &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    let entry = |tag: u8, permissions: u8, id: u32| {
        let mut entry = vec![tag, 0, permissions, 0];
        entry.extend(id.to_le_bytes());
        entry
    };
    // u::rw- u:33:r-- g::r-- m::r-- o::---
    let list = [
        (1, 6, u32::MAX),
        (2, 4, 33),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let entries: Vec<u8> = list
        .into_iter()
        .flat_map(|(tag, permissions, id)| entry(tag, permissions, id))
        .collect();
    let list = [&2_u32.to_le_bytes()[..], &entries].concat();
    set("listed", "system.posix_acl_access", &list);
    set("etc", "system.posix_acl_default", &list);
}
