//! File systems of every kind, made and mounted by the kernel, are read offline and compared with what the mount shows.

mod images;
mod journal;
mod populate;
mod seen;
mod site;

use std::collections::BTreeSet;

use populate::populate;
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
    ("-t ext4 -O mmp,quota,project,verity", 4096),
    ("-t ext4 -O encrypt,stable_inodes", 4096),
    ("-t ext4 -O casefold", 4096),
    ("-t ext4 -g 2048 -N 4096", 1024),
    (
        "-t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -N 200000",
        4096,
    ),
    ("-t ext2 -O none -I 128", 1024),
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
        populate(mount.path(), block, 20_000);
        drop(mount);
        let file_system = site
            .open("disk")
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        let ours = ours(&file_system).unwrap_or_else(|error| panic!("{options}: {error}"));
        let mount = site.mount("disk", "ro,noatime").unwrap();
        assert_same(&options, &ours, &kernels(mount.path()));
        assert!(ours.len() > 20_100, "{options}: {} paths", ours.len());
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
    eprintln!("this kernel does not mount: {unmounted:?}");
    let known: BTreeSet<_> = [
        "-t ext4 -O casefold",
        "-t ext4 -O encrypt,stable_inodes",
        "-t ext4 -O mmp,quota,project,verity",
    ]
    .into();
    let unexpected: Vec<_> = unmounted
        .iter()
        .filter(|options| !known.contains(options.as_str()))
        .collect();
    assert!(unexpected.is_empty(), "cannot mount {unexpected:?}");
}
