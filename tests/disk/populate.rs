//! Files of every kind, size and age.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, IFlags, Mode, Timespec, Timestamps, Uid,
    XattrFlags, chownat, fallocate, ioctl_getflags, ioctl_setflags, lsetxattr, makedev, mknodat,
    utimensat,
};

const BLOCK: u64 = 4096;

/// Bytes that no compression makes small, always the same.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// Makes them below `root`, the root of a file system with blocks of `block` bytes. `names` go into one directory.
pub fn populate(root: &Path, block: usize, names: usize) {
    sizes(root);
    sparse(root);
    directories(root, names);
    links(root, block);
    devices(root);
    owners(root);
    attributes(root);
    times(root);
    deleted(root);
    flags(root);
}

/// Makes some that any file system can have, to be copied into one.
pub fn plain(root: &Path) {
    sizes(root);
    directories(root, 4000);
    links(root, 4096);
    fs::write(root.join("a hole").as_path(), "").unwrap();
    File::options()
        .write(true)
        .open(root.join("a hole"))
        .unwrap()
        .set_len(70 << 20)
        .unwrap();
}

/// A few of each kind that `mke2fs -d` takes without root, to fit in a small disk.
pub fn plain_small(root: &Path) {
    for size in [0, 10, 100, 200, 5000, 300_000] {
        fs::write(root.join(size.to_string()), noise(size as u64, size)).unwrap();
    }
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    let file = File::create(root.join("pieces")).unwrap();
    for index in 0..60 {
        file.write_all_at(&noise(index, 1024), index * 8192)
            .unwrap();
    }
    for index in 0..120 {
        fs::hard_link(
            root.join("10"),
            root.join("a")
                .join(format!("a name of some length {index}")),
        )
        .unwrap();
    }
    symlink("short", root.join("link")).unwrap();
    symlink("l".repeat(200), root.join("long link")).unwrap();
    let value = noise(5, 300);
    for (name, value) in [("user.small", &b"1"[..]), ("user.more", &value)] {
        // Where these files are kept there may be none; the disks with other features have them from elsewhere.
        let _ = lsetxattr(root.join("200"), name, value, XattrFlags::empty());
    }
}

fn sizes(root: &Path) {
    let at = root.join("sizes");
    fs::create_dir(&at).unwrap();
    // Around what fits in place of a map, in an inode, in a block, in direct and in indirect blocks.
    for size in [
        0, 1, 59, 60, 61, 92, 130, 155, 160, 200, 1023, 1024, 4095, 4096, 4097, 12_288, 12_289,
        300_000, 5_000_000,
    ] {
        fs::write(at.join(size.to_string()), noise(size as u64, size)).unwrap();
    }
}

fn sparse(root: &Path) {
    let at = root.join("sparse");
    fs::create_dir(&at).unwrap();
    let new = |name: &str| File::create(at.join(name)).unwrap();
    let file = new("middle");
    file.write_all_at(b"start", 0).unwrap();
    file.write_all_at(b"later", 10 << 20).unwrap();
    file.set_len(20 << 20).unwrap();
    new("only a hole").set_len(123_456).unwrap();
    new("far")
        .write_all_at(&noise(3, 9000), (5 << 30) + 77)
        .unwrap();
    // ext2 and ext3 cannot allocate without writing.
    let file = new("allocated");
    if fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).is_ok() {
        file.write_all_at(&noise(4, 10_000), 200_000).unwrap();
        fallocate(&file, FallocateFlags::KEEP_SIZE, 1 << 20, 1 << 20).unwrap();
    }
    let file = new("pieces");
    for index in 0..1500 {
        file.write_all_at(&noise(index, 4096), index * 2 * BLOCK)
            .unwrap();
    }
}

fn directories(root: &Path, names: usize) {
    let many = root.join("many names");
    fs::create_dir(&many).unwrap();
    let file = root.join("many links");
    fs::write(&file, "linked often").unwrap();
    for index in 0..names {
        let name = format!("{index:05} {}", "x".repeat(index % 40));
        fs::hard_link(&file, many.join(name)).unwrap();
    }
    let odd = root.join("odd names");
    fs::create_dir(&odd).unwrap();
    for name in [
        &b"a\nb"[..],
        b"-rf",
        b"\xff\xfe",
        b"\xc3\xa4",
        b"...",
        b" ",
        &[b'n'; 255],
    ] {
        let name = std::ffi::OsString::from_vec(name.to_vec());
        fs::write(odd.join(name), "odd").unwrap();
    }
    fs::create_dir_all(root.join("a/deep/one").join("d/".repeat(60))).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    // Enough for a directory that was inline to grow out of its inode, and then nearly so.
    for (name, count) in [("few", 3), ("some", 9), ("more", 30)] {
        fs::create_dir(root.join(name)).unwrap();
        for index in 0..count {
            fs::write(root.join(name).join(format!("file {index}")), name).unwrap();
        }
    }
}

fn links(root: &Path, block: usize) {
    let at = root.join("links");
    fs::create_dir(&at).unwrap();
    for length in [1, 58, 59, 60, 61, 64, 90, 120, 200, 1000, 2000, 4095] {
        if length < block {
            symlink("t".repeat(length), at.join(length.to_string())).unwrap();
        }
    }
    fs::hard_link(root.join("sizes/300000"), at.join("hard")).unwrap();
}

fn devices(root: &Path) {
    let at = root.join("devices");
    fs::create_dir(&at).unwrap();
    for (name, kind, major, minor) in [
        ("null", FileType::CharacterDevice, 1, 3),
        ("zero", FileType::CharacterDevice, 0, 0),
        ("disk", FileType::BlockDevice, 8, 255),
        ("large", FileType::BlockDevice, 259, 256),
        ("largest", FileType::CharacterDevice, 0xfff, 0xf_ffff),
        ("fifo", FileType::Fifo, 0, 0),
        ("socket", FileType::Socket, 0, 0),
    ] {
        mknodat(
            CWD,
            at.join(name),
            kind,
            Mode::from_raw_mode(0o640),
            makedev(major, minor),
        )
        .unwrap();
    }
}

fn owners(root: &Path) {
    let at = root.join("owners");
    fs::create_dir(&at).unwrap();
    for (index, (uid, gid, mode)) in [
        (0, 0, 0o4755),
        (1000, 100, 0o2755),
        (70_000, 0xffff_fffe, 0o1777),
        (0xffff, 0x1_0000, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let path = at.join(index.to_string());
        fs::write(&path, "owned").unwrap();
        chownat(
            CWD,
            &path,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::empty(),
        )
        .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
}

/// An ACL as `setfacl` gives it to the kernel.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn attributes(root: &Path) {
    let at = root.join("attributes");
    fs::create_dir(&at).unwrap();
    let none = u32::MAX;
    let list = acl(&[
        (1, 6, none),
        (2, 4, 1000),
        (2, 7, 70_000),
        (4, 4, none),
        (8, 5, 50),
        (0x10, 7, none),
        (0x20, 0, none),
    ]);
    let capability = [&[1, 0, 0, 2, 0, 4, 0, 0][..], &[0; 12]].concat();
    let set =
        |path: &Path, name: &str, value: &[u8]| lsetxattr(path, name, value, XattrFlags::empty());
    for (file, attributes) in [
        ("one", vec![("user.one", &b"1"[..])]),
        (
            "empty",
            vec![("user.empty", &b""[..]), ("trusted.t", b"\0\xff")],
        ),
        ("acl", vec![("system.posix_acl_access", &list[..])]),
        ("ping", vec![("security.capability", &capability[..])]),
        (
            "in a block",
            vec![
                ("user.b", &noise(9, 700)[..]),
                ("user.a", b"small"),
                ("security.selinux", b"a:b:c\0"),
            ],
        ),
    ] {
        let path = at.join(file);
        fs::write(&path, file).unwrap();
        for (name, value) in attributes {
            set(&path, name, value).unwrap_or_else(|error| panic!("{file} {name}: {error}"));
        }
    }
    let default = at.join("default acl");
    fs::create_dir(&default).unwrap();
    set(&default, "system.posix_acl_default", &list).unwrap();
    fs::write(default.join("inherits"), "").unwrap();
    fs::create_dir(default.join("inherits, too")).unwrap();
    // Only with `ea_inode`; without it there is no room.
    let large = at.join("large");
    fs::write(&large, "large").unwrap();
    for (name, length) in [
        ("user.3k", 3000),
        ("user.20k", 20_000),
        ("user.60k", 60_000),
        ("user.64k", 65_536),
    ] {
        let _ = set(&large, name, &noise(length as u64, length));
    }
    // The same value is kept once.
    fs::write(at.join("large, again"), "").unwrap();
    let _ = set(&at.join("large, again"), "user.60k", &noise(60_000, 60_000));
}

fn times(root: &Path) {
    let at = root.join("times");
    fs::create_dir(&at).unwrap();
    // 1901, before and after 1970, 2038, 2106, 2200, 2446: where some file system's seconds end.
    for seconds in [
        -0x8000_0000_i64,
        -1,
        0,
        1,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x1_0000_0000,
        7_258_118_400,
        0x3_7fff_ffff,
    ] {
        let path = at.join(seconds.to_string());
        fs::write(&path, "then").unwrap();
        let time = |tv_nsec| Timespec {
            tv_sec: seconds,
            tv_nsec,
        };
        let times = Timestamps {
            last_access: time(999_999_999),
            last_modification: time(123_456_789),
        };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    }
}

fn deleted(root: &Path) {
    let at = root.join("was full");
    fs::create_dir(&at).unwrap();
    let names: Vec<_> = (0..300)
        .map(|index| at.join(format!("to be deleted {index}")))
        .collect();
    for name in &names {
        fs::write(name, "deleted").unwrap();
    }
    for name in names
        .iter()
        .step_by(3)
        .chain(names.iter().skip(1).step_by(3))
    {
        fs::remove_file(name).unwrap();
    }
}

fn flags(root: &Path) {
    let at = root.join("flags");
    fs::create_dir(&at).unwrap();
    for (name, flag) in [
        ("append", IFlags::APPEND),
        ("immutable", IFlags::IMMUTABLE),
        ("no dump", IFlags::NODUMP),
        ("no atime", IFlags::NOATIME),
        ("sync", IFlags::from_bits_retain(0x8)),
    ] {
        let mut file = File::create(at.join(name)).unwrap();
        file.write_all(b"flagged").unwrap();
        let flags = ioctl_getflags(&file).unwrap();
        ioctl_setflags(&file, flags | flag).unwrap();
    }
}
