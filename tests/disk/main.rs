//! File systems of every kind, made and mounted by the kernel, are read offline and compared with what the mount shows.

#[expect(dead_code, reason = "the soak reads whole disks and images only")]
#[path = "../support/explore.rs"]
mod explore;
mod fat;
mod hostile;
mod journal;
mod partitions;
mod populate;
mod qcow2;
mod seen;
mod site;
mod soak;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;

use karat::disk::read::{FileType, Metadata};
use populate::{plain, populate};
use seen::{assert_same, kernels, ours};
use site::{Site, can_mount};

/// What `mke2fs` is told, and the block size that follows.
const KINDS: &[(&str, usize)] = &[
    ("-t ext2", 1024),
    ("-t ext2 -I 128", 4096),
    (
        "-t ext2 -O ^filetype,^dir_index,^sparse_super,^resize_inode",
        2048,
    ),
    ("-t ext3", 1024),
    ("-t ext3", 4096),
    ("-t ext4", 4096),
    ("-t ext4", 1024),
    ("-t ext4 -I 512", 2048),
    ("-t ext4 -I 128", 4096),
    ("-t ext4 -O ^64bit", 4096),
    ("-t ext4 -O ^metadata_csum,uninit_bg", 4096),
    ("-t ext4 -O ^metadata_csum,^uninit_bg", 4096),
    ("-t ext4 -O ^flex_bg", 4096),
    ("-t ext4 -O ^extents,^64bit", 4096),
    ("-t ext4 -O ^has_journal", 4096),
    ("-t ext4 -O ^dir_index", 4096),
    ("-t ext4 -O bigalloc -C 16384", 4096),
    ("-t ext4 -O bigalloc -C 8192", 1024),
    ("-t ext4 -O meta_bg,^resize_inode", 4096),
    ("-t ext4 -O meta_bg,^resize_inode", 1024),
    ("-t ext4 -O meta_bg,^resize_inode,^64bit,^flex_bg", 1024),
    ("-t ext4 -O inline_data", 4096),
    ("-t ext4 -I 1024 -O inline_data", 1024),
    ("-t ext4 -O ea_inode", 4096),
    ("-t ext4 -O ea_inode,inline_data", 1024),
    ("-t ext4 -O large_dir", 1024),
    (
        "-t ext4 -O metadata_csum_seed -U 01234567-89ab-cdef-0123-456789abcdef",
        4096,
    ),
    ("-t ext4 -O sparse_super2", 4096),
    ("-t ext4 -O orphan_file,fast_commit", 4096),
    ("-t ext4 -O mmp", 4096),
    ("-t ext4 -O encrypt,stable_inodes", 4096),
    ("-t ext4 -g 2048 -N 4096", 1024),
    (
        "-t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -N 200000",
        4096,
    ),
    ("-t ext2 -O none -I 128", 1024),
];

/// Making 20,000 names takes seconds: only where their index can be another.
const MANY_NAMES: &[&str] = &[
    "-b 1024 -t ext2",
    "-b 2048 -t ext2 -O ^filetype,^dir_index,^sparse_super,^resize_inode",
    "-b 1024 -t ext3",
    "-b 4096 -t ext4",
    "-b 1024 -t ext4",
    "-b 4096 -t ext4 -O ^metadata_csum,^uninit_bg",
    "-b 4096 -t ext4 -O ^dir_index",
    "-b 4096 -t ext4 -O bigalloc -C 16384",
    "-b 1024 -t ext4 -O large_dir",
];

#[test]
fn every_file_system_is_read_as_the_kernel_shows_it() {
    if !can_mount() {
        return;
    }
    let mut unmounted = Vec::new();
    for &(options, block) in KINDS {
        let site = Site::new();
        let options = format!("-b {block} {options}");
        site.mke2fs("disk", 96 << 20, &options);
        let Some(mount) = site.mount("disk", "user_xattr,acl") else {
            unmounted.push(options);
            continue;
        };
        // An index of names has two levels with blocks of 1 KiB, and one that is nearly full with blocks of 4 KiB.
        let names = if MANY_NAMES.contains(&options.as_str()) {
            20_000
        } else {
            1000
        };
        populate(mount.path(), block, names);
        drop(mount);
        let file_system = site
            .open("disk")
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        let ours = ours(&file_system).unwrap_or_else(|error| panic!("{options}: {error}"));
        let mount = site.mount("disk", "ro,noatime").unwrap();
        assert_same(&options, &ours, &kernels(mount.path()));
        assert!(ours.len() > names + 250, "{options}: {} paths", ours.len());
        assert!(!file_system.recovered(), "{options}");
        let large = &ours[&b"attributes/large"[..]].xattrs;
        let has_large = large.iter().any(|(_, _, length)| *length == 65_536);
        assert_eq!(
            has_large,
            options.contains("ea_inode"),
            "{options}: {large:?}"
        );
        eprintln!("{options}: {} paths", ours.len());
    }
    assert!(unmounted.is_empty(), "cannot mount {unmounted:?}");
}

/// Features that a kernel may be built without: given to a file system after the kernel was done with it.
#[test]
fn features_that_this_kernel_may_not_have_are_read() {
    if !can_mount() {
        return;
    }
    for (make, change) in [
        ("-I 256", "-O quota"),
        ("-I 256", "-O project"),
        ("-I 256", "-O casefold"),
        ("-I 256", "-O verity"),
    ] {
        let site = Site::new();
        site.mke2fs("disk", 96 << 20, &format!("-t ext4 -b 4096 {make}"));
        let mount = site.mount("disk", "noatime").unwrap();
        populate(mount.path(), 4096, 300);
        drop(mount);
        let mount = site.mount("disk", "ro,noatime").unwrap();
        let expected = kernels(mount.path());
        drop(mount);
        let disk = site.text("disk");
        let mut arguments: Vec<_> = change.split(' ').collect();
        arguments.push(&disk);
        site::success("tune2fs", &arguments);
        let file_system = site
            .open("disk")
            .unwrap_or_else(|error| panic!("{change}: {error}"));
        assert_same(change, &ours(&file_system).unwrap(), &expected);
    }
}

/// No kernel of a machine with pages of 4 KiB mounts these, or only the newest.
#[test]
fn large_blocks_are_read() {
    let site = Site::new();
    let from = site.path("from");
    std::fs::create_dir(&from).unwrap();
    plain(&from);
    let expected = kernels(&from);
    for block in [8192, 16_384, 65_536] {
        let options = format!("-t ext4 -b {block} -d {}", from.display());
        site.mke2fs("disk", 256 << 20, &options);
        let ours = ours(&site.open("disk").unwrap()).unwrap();
        assert_eq!(ours.len(), expected.len() + 1, "all, and lost+found");
        for (path, expected) in expected.iter().filter(|(path, _)| !path.is_empty()) {
            let (seen, path) = (&ours[path], String::from_utf8_lossy(path));
            assert_eq!(
                (seen.digest, &seen.target),
                (expected.digest, &expected.target),
                "{block} {path}"
            );
            let facts = |metadata: &Metadata| {
                let bytes = if metadata.kind == FileType::Directory {
                    0
                } else {
                    metadata.size
                };
                (
                    metadata.kind,
                    metadata.mode,
                    metadata.uid,
                    bytes,
                    metadata.links,
                    metadata.mtime.seconds,
                )
            };
            assert_eq!(
                facts(&seen.metadata),
                facts(&expected.metadata),
                "{block} {path}"
            );
        }
    }
}
