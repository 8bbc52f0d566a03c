//! Disks of guests that were not shut down cleanly: what is only in the journal is read as the kernel would replay it.

use std::fs::{self, File};
use std::path::Path;

use super::populate::{noise, populate};
use super::seen::{assert_same, kernels, ours};
use super::site::{Site, can_mount, run, success};

/// How blocks of the journal's own start; a block of data that does has to be marked.
const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

/// Changes that are in the journal only, among them blocks that were metadata and are data now.
fn churn(root: &Path) {
    let directory = root.join("short lived");
    for round in 0..3 {
        fs::create_dir(&directory).unwrap();
        for index in 0..400 {
            let name = format!("{round} {index} {}", "x".repeat(100));
            fs::write(directory.join(name), "").unwrap();
        }
        File::open(&directory).unwrap().sync_all().unwrap();
        fs::remove_dir_all(&directory).unwrap();
        fs::write(
            root.join(format!("in its place {round}")),
            noise(round, 400_000),
        )
        .unwrap();
        File::open(root).unwrap().sync_all().unwrap();
    }
    let escaped = [&MAGIC[..], &noise(1, 4092)].concat().repeat(5);
    fs::write(root.join("escaped"), &escaped).unwrap();
    fs::hard_link(root.join("escaped"), root.join("linked late")).unwrap();
    let late = root.join("late");
    fs::write(&late, "only in the journal").unwrap();
    for path in [root.join("escaped"), late] {
        File::open(path).unwrap().sync_all().unwrap();
    }
}

#[test]
fn a_dirty_journal_is_replayed_as_by_the_kernel() {
    if !can_mount() {
        return;
    }
    for (make, mount_options) in [
        ("-t ext4 -b 4096", "data=ordered"),
        ("-t ext4 -b 1024", "data=journal"),
        ("-t ext4 -b 4096 -O ^64bit", "data=journal"),
        ("-t ext4 -b 4096 -O ^metadata_csum", "data=journal"),
        (
            "-t ext4 -b 4096 -O inline_data,ea_inode,fast_commit",
            "data=journal",
        ),
        ("-t ext3 -b 1024", "data=ordered"),
        ("-t ext3 -b 4096", "data=journal"),
    ] {
        let site = Site::new();
        site.mke2fs("disk", 96 << 20, &format!("{make} -J size=16"));
        let mount = site.mount("disk", mount_options).unwrap();
        let block = if make.contains("1024") { 1024 } else { 4096 };
        populate(mount.path(), block, 500);
        success("sync", &["-f", mount.path().to_str().unwrap()]);
        churn(mount.path());
        fs::copy(site.path("disk"), site.path("dirty")).unwrap();
        drop(mount);
        fs::copy(site.path("dirty"), site.path("replayed")).unwrap();
        let unreplayed = run("debugfs", &["-R", "stat /late", &site.text("dirty")]);
        let unreplayed = String::from_utf8_lossy(&unreplayed.stderr).into_owned();
        assert!(
            unreplayed.contains("not found"),
            "{make}: nothing is in the journal only: {unreplayed}"
        );

        let file_system = site
            .open("dirty")
            .unwrap_or_else(|error| panic!("{make}: {error}"));
        assert!(file_system.recovered(), "{make}");
        let ours = ours(&file_system).unwrap_or_else(|error| panic!("{make}: {error}"));
        let mount = site.mount("replayed", "noatime").unwrap();
        assert_same(
            &format!("{make} {mount_options}"),
            &ours,
            &kernels(mount.path()),
        );
        assert!(ours.contains_key(&b"late"[..]));
    }
}

/// The kernel only writes what its own version has; debugfs writes every kind.
#[test]
fn every_kind_of_journal_is_replayed() {
    if !can_mount() {
        return;
    }
    for (make, open) in [
        ("-t ext3 -b 1024", "jo"),
        ("-t ext4 -b 4096 -O ^metadata_csum,64bit", "jo"),
        ("-t ext4 -b 4096 -O ^metadata_csum,^64bit", "jo"),
        ("-t ext4 -b 1024 -O 64bit,metadata_csum", "jo -c -v 2"),
        ("-t ext4 -b 1024 -O ^64bit,metadata_csum", "jo -c -v 2"),
        ("-t ext4 -b 1024 -O ^64bit,metadata_csum", "jo -c -v 3"),
        ("-t ext4 -b 4096 -O 64bit,metadata_csum", "jo -c -v 3"),
    ] {
        let site = Site::new();
        site.mke2fs("disk", 32 << 20, make);
        let block = if make.contains("1024") { 1024 } else { 4096 };
        let mount = site.mount("disk", "noatime").unwrap();
        fs::write(mount.path().join("target"), noise(1, 10 * block)).unwrap();
        drop(mount);
        let blocks = success("debugfs", &["-R", "blocks /target", &site.text("disk")]);
        let blocks: Vec<_> = blocks.split_whitespace().collect();
        // Replaced; replaced twice; replaced, then revoked; revoked, then replaced; replaced by what has to be escaped.
        let new = |name: &str, bytes: &[u8]| fs::write(site.path(name), bytes).unwrap();
        new("two", &noise(2, 2 * block));
        new("one", &noise(3, block));
        new("magic", &[&MAGIC[..], &noise(4, block - 4)].concat());
        let at = |name: &str| site.text(name);
        let script = [
            open.to_owned(),
            format!("jw -b {},{} {}", blocks[0], blocks[1], at("two")),
            format!("jw -b {} {}", blocks[1], at("one")),
            format!("jw -b {} {}", blocks[2], at("one")),
            format!("jw -r {},{}", blocks[2], blocks[3]),
            format!("jw -b {} {}", blocks[3], at("one")),
            format!("jw -b {} {}", blocks[4], at("magic")),
            "jc".to_owned(),
        ];
        new("script", script.join("\n").as_bytes());
        success("debugfs", &["-w", "-f", &at("script"), &at("disk")]);
        fs::copy(site.path("disk"), site.path("replayed")).unwrap();

        let file_system = site
            .open("disk")
            .unwrap_or_else(|error| panic!("{make} {open}: {error}"));
        assert!(file_system.recovered(), "{make} {open}");
        let ours = ours(&file_system).unwrap_or_else(|error| panic!("{make} {open}: {error}"));
        let mount = site.mount("replayed", "noatime").unwrap();
        assert_same(&format!("{make} {open}"), &ours, &kernels(mount.path()));
        let content = fs::read(mount.path().join("target")).unwrap();
        let expected = [
            &noise(2, 2 * block)[..block],
            &noise(3, block),
            &noise(1, 10 * block)[2 * block..3 * block],
        ]
        .concat();
        assert!(
            content.starts_with(&expected),
            "{make} {open}: the kernel replayed something else"
        );
        assert!(
            content[4 * block..].starts_with(&MAGIC),
            "{make} {open}: nothing was escaped"
        );
    }
}

#[test]
fn a_journal_with_old_checksums_is_refused_when_it_is_dirty() {
    let site = Site::new();
    site.mke2fs("disk", 32 << 20, "-t ext4 -b 4096 -O ^metadata_csum");
    fs::write(site.path("one"), noise(1, 4096)).unwrap();
    let (script, disk) = (site.text("script"), site.text("disk"));
    for (commands, refused) in [
        ("jo -c\njc", false),
        (
            &*format!("jo -c\njw -b 5000 {}\njc", site.text("one")),
            true,
        ),
    ] {
        fs::write(&script, commands).unwrap();
        success("debugfs", &["-w", "-f", &script, &disk]);
        let opened = site.open("disk");
        let error = opened
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert_eq!(
            error.contains("checksums of version 1"),
            refused,
            "{commands}: {error}"
        );
    }
}

#[test]
fn fast_commits_are_refused() {
    if !can_mount() {
        return;
    }
    let site = Site::new();
    site.mke2fs("disk", 64 << 20, "-t ext4 -b 4096 -O fast_commit");
    let mount = site.mount("disk", "noatime").unwrap();
    fs::write(mount.path().join("before"), "before").unwrap();
    success("sync", &["-f", mount.path().to_str().unwrap()]);
    fs::write(mount.path().join("after"), "after").unwrap();
    File::open(mount.path().join("after"))
        .unwrap()
        .sync_all()
        .unwrap();
    fs::copy(site.path("disk"), site.path("dirty")).unwrap();
    drop(mount);
    let error = site.open("dirty").unwrap_err().to_string();
    assert!(error.contains("fast commits"), "{error}");
    let file_system = site.open("disk").unwrap();
    assert!(
        ours(&file_system).unwrap().contains_key(&b"after"[..]),
        "it was unmounted cleanly"
    );
}
