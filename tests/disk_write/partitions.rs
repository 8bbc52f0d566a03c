//! Whole disks: what surrounds the root is carried over, and the root reaches to the end. No mount, so no root is needed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use karat::disk::normalize::source::{Container, SourceDisk, WrittenImage};
use karat::disk::read::RawFile;
use karat::disk::write::WriteError;

use super::image::{assert_clean, run, run_with_input};
use super::{noise, watch};

const MIB: u64 = 1 << 20;
const GPT: &str = "label: gpt
label-id: 719C8985-4568-4C0B-9C72-EE428AEBF282
start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=EDBD5755-3A64-4650-A72A-F4ADC569D418, name=\"bios\"
start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=AEBAE9AA-7F2B-489C-A127-2F8750B104F2, name=\"ésp\", attrs=\"RequiredPartition\"
start=12288, size=SIZE, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=22071034-3ADD-408B-AFF3-89F36C117036, name=\"root\"
";
const GPT_ROOT_FIRST: &str = "label: gpt
label-id: 719C8985-4568-4C0B-9C72-EE428AEBF282
start=12288, size=SIZE, uuid=22071034-3ADD-408B-AFF3-89F36C117036, name=\"root\"
start=4096, size=2048, uuid=EDBD5755-3A64-4650-A72A-F4ADC569D418, name=\"before\"
start=200000, size=2048, uuid=AEBAE9AA-7F2B-489C-A127-2F8750B104F2, name=\"after\"
";
const MBR: &str = "label: dos
label-id: 0x12345678
start=4096, size=2048, type=c
start=12288, size=SIZE, type=83, bootable
";

/// A disk of 100 MiB with a table, noise wherever a boot loader may be, and a root at 6 MiB.
fn make(scratch: &Path, table: &str) -> PathBuf {
    let disk = scratch.join("base.raw");
    let file = File::create(&disk).unwrap();
    file.set_len(100 * MIB).unwrap();
    file.write_all_at(&noise(5 << 20), 0).unwrap();
    let disk_text = disk.to_str().unwrap();
    let table = table.replace("SIZE", "163840");
    run_with_input(
        "sfdisk",
        &[
            "-q",
            "--no-reread",
            "--no-tell-kernel",
            "--wipe",
            "never",
            disk_text,
        ],
        &table,
    );
    let tree = scratch.join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/noise"), noise(3_000_000)).unwrap();
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-d",
            tree.to_str().unwrap(),
            "-E",
            "offset=6291456",
            disk_text,
            "80M",
        ],
    );
    disk
}

fn rewrite(disk: &Path, to: &Path, size: u64) -> Result<WrittenImage, WriteError> {
    let source = SourceDisk::open(Arc::new(RawFile::open(disk).unwrap()))?;
    let tree = source.tree()?;
    let file = File::create_new(to).unwrap();
    source.write(&tree, size, (Container::Raw, &file, to), 2, watch())
}

/// The table as sfdisk shows it, without the disk's own name.
fn dump(disk: &Path) -> Vec<String> {
    let disk = disk.to_str().unwrap();
    let lines = run("sfdisk", &["--dump", disk]);
    let wanted = |line: &&str| !line.starts_with("device:") && !line.starts_with("last-lba:");
    lines
        .lines()
        .filter(wanted)
        .map(|line| line.replace(disk, ""))
        .collect()
}

#[test]
fn partitions_and_boot_code_are_those_of_the_base() {
    for (name, table, grows) in [
        ("gpt", GPT, true),
        ("root first", GPT_ROOT_FIRST, false),
        ("mbr", MBR, true),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let base = make(scratch.path(), table);
        let new = scratch.path().join("new.raw");
        let size = 300 * MIB;
        let rewritten = rewrite(&base, &new, size).unwrap();
        let image = File::open(&new).unwrap();
        rewritten
            .check((Container::Raw, &image, &new), 2, watch())
            .unwrap();
        let verdict = run("sfdisk", &["--verify", new.to_str().unwrap()]);
        assert!(verdict.contains("No errors detected"), "{name}: {verdict}");
        for (old, new) in dump(&base).iter().zip(dump(&new)) {
            // Of 300 MiB, 6 come before the root, and 33 sectors of a GPT behind it.
            let end = if name == "mbr" { 614_400 } else { 614_400 - 33 };
            let size = if grows { end - 12_288 } else { 163_840 };
            let old = old.replace("size=      163840", &format!("size={size:>12}"));
            assert_eq!(old, new, "{name}");
        }
        let (old, changed) = (fs::read(&base).unwrap(), fs::read(&new).unwrap());
        assert_eq!(changed.len() as u64, size);
        let carried = match name {
            "gpt" => vec![0..440, 1 << 20..6 << 20],
            "root first" => vec![0..440, 2 << 20..3 << 20],
            _ => vec![0..446, 512..3 << 20],
        };
        for range in carried {
            assert!(
                old[range.clone()] == changed[range.clone()],
                "{name}: {range:?}"
            );
        }
        let root = scratch.path().join("root.img");
        fs::write(
            &root,
            &changed[6 << 20..if grows { 299 << 20 } else { 86 << 20 }],
        )
        .unwrap();
        assert_clean(&root);
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let base = make(scratch.path(), GPT);
    let mut number = 0;
    let mut refusal = |size: u64| {
        number += 1;
        let to = scratch.path().join(number.to_string());
        rewrite(&base, &to, size * MIB).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(5),
        "5242880 bytes are too few for the root file system"
    );
    let refused = refusal(16);
    assert!(refused.contains("do not fit"), "{refused}");
    let several = scratch.path().join("several");
    fs::copy(&base, &several).unwrap();
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-E",
            "offset=2097152",
            several.to_str().unwrap(),
            "4M",
        ],
    );
    let old = scratch.path().join("old");
    File::create(&old).unwrap().set_len(20 * MIB).unwrap();
    run("mke2fs", &["-q", "-F", "-t", "ext3", old.to_str().unwrap()]);
    let quota = scratch.path().join("quota");
    File::create(&quota).unwrap().set_len(20 * MIB).unwrap();
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-O",
            "quota",
            quota.to_str().unwrap(),
        ],
    );
    let overlap = scratch.path().join("overlap");
    fs::create_dir(&overlap).unwrap();
    let overlap = make(&overlap, MBR);
    let mut entry = vec![0, 0, 0, 0, 0xc, 0, 0, 0];
    entry.extend([5000_u32, 100].map(u32::to_le_bytes).concat());
    let disk = File::options().write(true).open(&overlap).unwrap();
    disk.write_all_at(&entry, 446 + 2 * 16).unwrap();
    let refused = rewrite(&overlap, &scratch.path().join("new"), 200 * MIB).err();
    assert_eq!(
        refused.map(|error| error.to_string()).as_deref(),
        Some("cannot read the guest's disk")
    );
    let none = scratch.path().join("none");
    File::create(&none).unwrap().set_len(MIB).unwrap();
    for (disk, expected) in [
        (
            several,
            "cannot rewrite the disk: it has several ext4 file systems",
        ),
        (
            old,
            "cannot rewrite the disk: it has a file system without extents (ext2 or ext3)",
        ),
        (
            quota,
            "cannot rewrite the disk: it has the read-only compatible feature 0x100",
        ),
        (none, "cannot rewrite the disk: it has no ext4 file system"),
    ] {
        let refused = SourceDisk::open(Arc::new(RawFile::open(&disk).unwrap())).err();
        assert_eq!(
            refused.map(|error| error.to_string()).as_deref(),
            Some(expected)
        );
    }
}

#[test]
fn file_systems_that_are_not_read_are_named_and_never_carried_along_as_if_they_were_nothing() {
    for (tool, arguments, what) in [
        ("mkfs.xfs", &["-q", "-f"][..], "an XFS file system"),
        ("mkfs.btrfs", &["-q", "-f"][..], "a btrfs file system"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let whole = scratch.path().join("whole");
        File::create(&whole).unwrap().set_len(400 * MIB).unwrap();
        run(tool, &[arguments, &[whole.to_str().unwrap()]].concat());
        let expected = format!("cannot rewrite the disk: it has {what}");
        let refused = |disk: &Path| {
            let opened = SourceDisk::open(Arc::new(RawFile::open(disk).unwrap()));
            opened.err().map(|error| error.to_string())
        };
        assert_eq!(refused(&whole), Some(expected.clone()));
        // Beside an ext4, which then is where the kernels are.
        let beside = make(scratch.path(), MBR);
        let mut start = vec![0; 1 << 20];
        File::open(&whole)
            .unwrap()
            .read_exact_at(&mut start, 0)
            .unwrap();
        let disk = File::options().write(true).open(&beside).unwrap();
        disk.write_all_at(&start, 4096 * 512).unwrap();
        assert_eq!(refused(&beside), Some(expected));
    }
}
