//! Disks made to keep a reader busy, or to lead it astray.

use std::fs;
use std::os::unix::fs::FileExt as _;

use super::populate::noise;
use super::seen::ours;
use super::site::{Site, success};

fn debugfs(site: &Site, commands: &str) {
    fs::write(site.path("commands"), commands).unwrap();
    success(
        "debugfs",
        &["-w", "-f", &site.text("commands"), &site.text("disk")],
    );
}

#[test]
fn what_no_guest_makes_by_accident_is_refused() {
    let mut wrong = Vec::new();
    for (make, commands, expected) in [
        // A directory in itself, by another name: an endless tree.
        ("-t ext4", "ln /a /a/b/again", "has two names"),
        ("-t ext4", "ln / /a/root", "has two names"),
        // The same blocks in many files: little disk, much to read.
        (
            "-t ext2",
            "copy_inode /large /c0\ncopy_inode /large /c1\ncopy_inode /large /c2",
            "more blocks than there are",
        ),
        (
            "-t ext4",
            "copy_inode /large /c0\ncopy_inode /large /c1\ncopy_inode /large /c2",
            "more blocks than there are",
        ),
        // A block of pointers that all point at it, three levels deep: sixteen million blocks.
        (
            "-t ext2",
            "sif /file block[TIND] 8000",
            "more than the whole",
        ),
        // One byte more than a map can reach.
        ("-t ext4", "sif /file size 0x40000000001", "bytes"),
        ("-t ext4", "sif /file size 0xffffffffffffffff", "bytes"),
        ("-t ext4", "sif /file mode 0", "not in use"),
        ("-t ext4", "sif /file links_count 0", "not in use"),
        // One name for several files, or several names for one.
        ("-t ext4", "sif /a flags 0x40080000", "ignores the case"),
        ("-t ext4", "sif /a flags 0x80800", "encrypted files"),
        ("-t ext4", "sif /file flags 0x80800", "encrypted files"),
        ("-t ext4", "sif /file block[0] 0", "bad node"),
        ("-t ext4", "sif /file block[1] 0x000a0003", "too deep"),
        ("-t ext2", "sif /file block[0] 999999", "not within"),
        ("-t ext2", "sif /file block[0] 1", "not within"),
        ("-t ext4", "sif /link size 5000", "not within"),
        ("-t ext4", "sif /link size 0", "0 bytes"),
        ("-t ext4", "ssv inodes_per_group 0", "superblock is wrong"),
        ("-t ext4", "ssv log_block_size 40", "2^50"),
        (
            "-t ext4",
            "ssv blocks_per_group 0xffffffff",
            "superblock is wrong",
        ),
        (
            "-t ext4",
            "ssv blocks_count 0x7fffffff",
            "but its partition has",
        ),
        ("-t ext4", "ssv inode_size 96", "superblock is wrong"),
        ("-t ext4", "ssv desc_size 48", "superblock is wrong"),
        (
            "-t ext4",
            "ssv feature_incompat 0x800002c2",
            "unknown features",
        ),
        (
            "-t ext4",
            "set_bg 0 inode_table 4000000\nset_bg 0 checksum calc",
            "not within",
        ),
    ] {
        let site = Site::new();
        let from = site.path("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("file"), noise(1, 30_000)).unwrap();
        fs::write(from.join("large"), noise(2, 3_000_000)).unwrap();
        for copy in ["c0", "c1", "c2"] {
            fs::write(from.join(copy), copy).unwrap();
        }
        std::os::unix::fs::symlink("target", from.join("link")).unwrap();
        site.mke2fs(
            "disk",
            8 << 20,
            &format!("{make} -b 1024 -d {}", from.display()),
        );
        let good = ours(&site.open("disk").unwrap()).unwrap();
        let disk = fs::File::options()
            .write(true)
            .open(site.path("disk"))
            .unwrap();
        disk.write_all_at(&8000u32.to_le_bytes().repeat(256), 8000 * 1024)
            .unwrap();
        debugfs(&site, commands);
        let read = site.open("disk").and_then(|file_system| ours(&file_system));
        let error = read
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        if error.is_empty() || !error.contains(expected) {
            wrong.push(format!("{commands}: {error:?} instead of {expected:?}"));
        }
        assert!(good.len() > 8, "{make}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
