//! A disk with a boot loader, an EFI partition, an empty partition and a root, and changes outside of the root.

use std::fs;
use std::io::{Cursor, Write as _};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::process::Command;

use super::*;
use crate::digest::Digest;
use crate::disk::gpt::{self, BIOS_BOOT, ESP, GptPartition, Guid, ROOT_X86_64, SECTOR};
use crate::disk::normalize::source::{Container, SourceDisk};
use crate::disk::read::RawFile;
use crate::disk::read::partitions::boot;
use crate::disk::tree::Monitor;
use crate::os::hash_stream::Stop;
use crate::record::explanation::Cause;
use crate::record::lock::InstallReason;

mod steps;
mod without_gpt;

/// Sectors of the disk, and first and last ones of its partitions.
const SECTORS: usize = 49_152;
const PARTITIONS: [(Guid, usize, usize); 4] = [
    (BIOS_BOOT, 2048, 4095),
    (ESP, 4096, 12_287),
    (Guid([0x11; 16]), 12_288, 16_383),
    (ROOT_X86_64, 18_432, 47_103),
];
/// A gap between partitions, and one behind them.
const GAPS: [usize; 2] = [16_384, 47_104];
const SECTOR_BYTES: usize = 512;
const ROOT: usize = PARTITIONS[3].1 * SECTOR_BYTES;

fn part(number: usize) -> Range<usize> {
    let (_, first, last) = PARTITIONS[number - 1];
    first * SECTOR_BYTES..(last + 1) * SECTOR_BYTES
}

fn noise(bytes: &mut [u8]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = ((index * index) >> 5).to_le_bytes()[0] | 1;
    }
}

fn partitions() -> Vec<GptPartition> {
    let numbered = (1..).zip(PARTITIONS);
    let partition = |(number, (kind, first, last)): (u8, (Guid, usize, usize))| GptPartition {
        number: number.into(),
        kind,
        id: Guid([number; 16]),
        first: first as u64,
        last: last as u64,
        attributes: 0,
        name: Vec::new(),
    };
    numbered.map(partition).collect()
}

fn put_table(disk: &mut [u8], partitions: Vec<GptPartition>) {
    let sectors = (disk.len() / SECTOR_BYTES) as u64;
    let (start, end) = gpt::tables(sectors, Guid([7; 16]), partitions);
    // The boot code stays.
    disk[440..start.len()].copy_from_slice(&start[440..]);
    let at = disk.len() - end.len();
    disk[at..].copy_from_slice(&end);
}

/// Changes the files of a FAT file system.
fn with_fat(volume: &mut [u8], edit: impl FnOnce(&fatfs::Dir<'_, Cursor<&mut [u8]>>)) {
    let files = fatfs::FileSystem::new(Cursor::new(volume), fatfs::FsOptions::new()).unwrap();
    edit(&files.root_dir());
    files.unmount().unwrap();
}

fn write(directory: &fatfs::Dir<'_, Cursor<&mut [u8]>>, path: &str, content: &[u8]) {
    let mut file = directory.create_file(path).unwrap();
    file.truncate().unwrap();
    file.write_all(content).unwrap();
}

fn format_fat(volume: &mut [u8]) {
    volume.fill(0);
    let options = fatfs::FormatVolumeOptions::new();
    fatfs::format_volume(Cursor::new(volume), options).unwrap();
}

/// Makes an ext4 with `/etc` and `/usr`, or without, in a part of a disk.
fn put_ext4(disk: &mut [u8], at: Range<usize>, directories: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let [tree, image] = ["tree", "image"].map(|name| scratch.path().join(name));
    fs::create_dir(&tree).unwrap();
    for name in directories {
        fs::create_dir(tree.join(name)).unwrap();
    }
    fs::write(&image, vec![0; at.len()]).unwrap();
    let mut command = Command::new("/sbin/mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"]);
    let status = command.arg(&tree).arg(&image).status();
    assert!(status.unwrap().success());
    disk[at].copy_from_slice(&fs::read(&image).unwrap());
}

fn base() -> Vec<u8> {
    let mut disk = vec![0; SECTORS * SECTOR_BYTES];
    noise(&mut disk[..440]);
    put_table(&mut disk, partitions());
    noise(&mut disk[part(1)][..40_000]);
    let esp = &mut disk[part(2)];
    format_fat(esp);
    with_fat(esp, |root| {
        let efi = root.create_dir("EFI").unwrap();
        efi.create_dir("BOOT").unwrap();
        write(root, "EFI/BOOT/BOOTX64.EFI", &vec![7; 50_000]);
        write(root, "EFI/BOOT/old.efi", b"old");
        write(root, "README", b"notes");
    });
    put_ext4(&mut disk, part(4), &["etc", "usr"]);
    disk
}

fn shared(disk: Vec<u8>) -> Arc<dyn BlockRead> {
    Arc::new(Memory(disk))
}

fn packages(names: &[&str]) -> Vec<LockedPackage> {
    let package = |name: &&str| LockedPackage {
        name: (*name).to_owned(),
        version: "1".to_owned(),
        architecture: "amd64".to_owned(),
        reason: InstallReason::Declared,
        archive: "https://example.org/debian".to_owned(),
        path: "x.deb".to_owned(),
        size: 1,
        sha256: Digest::of(b""),
    };
    names.iter().map(package).collect()
}

fn built(packages: &[LockedPackage]) -> Installation<'_> {
    let disk = None;
    Installation { packages, disk }
}

fn ids(findings: Vec<Finding>) -> Vec<String> {
    let ids = findings.into_iter().map(|finding| {
        assert_eq!(finding.severity, Severity::High);
        assert!(!finding.evidence.is_empty() && !finding.fix.is_empty());
        finding.id
    });
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids
}

type Edit<'a> = &'a dyn Fn(&mut [u8]);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_change_outside_of_the_root_file_system_is_found_where_it_is() {
    let base = base();
    // Change, findings, and those that are left if a boot loader is locked.
    let cases: [(Edit, &[&str], &[&str]); 19] = [
        (&|_| {}, &[], &[]),
        (
            &|disk| disk[100] ^= 1,
            &["undeclared-boot-code:boot code"],
            &[],
        ),
        (
            &|disk| noise(&mut disk[part(1)]),
            &["undeclared-boot-code:BIOS boot partition 1"],
            &[],
        ),
        (&|disk| disk[part(1)].fill(0), &[], &[]),
        (
            &|disk| disk[40 * SECTOR_BYTES] = 1,
            &["undeclared-boot-code:gap at sector 34"],
            &["undeclared-boot-code:gap at sector 34"],
        ),
        (
            &|disk| disk[ROOT + 10] = 1,
            &["undeclared-boot-code:boot sectors of partition 4"],
            &["undeclared-boot-code:boot sectors of partition 4"],
        ),
        (
            &|disk| disk[GAPS[0] * SECTOR_BYTES + 1000] = 1,
            &["not-looked-at:gap at sector 16384"],
            &["not-looked-at:gap at sector 16384"],
        ),
        (
            &|disk| disk[GAPS[1] * SECTOR_BYTES + 1000] = 1,
            &["not-looked-at:gap at sector 47104"],
            &["not-looked-at:gap at sector 47104"],
        ),
        (
            &|disk| noise(&mut disk[part(3)][70_000..80_000]),
            &["not-looked-at:partition 3"],
            &["not-looked-at:partition 3"],
        ),
        (
            &|disk| noise(&mut disk[part(2)]),
            &["not-looked-at:EFI partition 2"],
            &["not-looked-at:EFI partition 2"],
        ),
        (
            &|disk| {
                with_fat(&mut disk[part(2)], |root| {
                    write(root, "EFI/BOOT/BOOTX64.EFI", &vec![8; 50_000]);
                });
            },
            &["undeclared-boot-file:/boot/efi/EFI/BOOT/BOOTX64.EFI"],
            &[],
        ),
        (
            &|disk| {
                with_fat(&mut disk[part(2)], |root| {
                    write(root, "EFI/new.efi", b"new");
                });
            },
            &["undeclared-boot-file:/boot/efi/EFI/new.efi"],
            &[],
        ),
        (
            &|disk| {
                with_fat(&mut disk[part(2)], |root| {
                    write(root, "startup.nsh", b"evil.efi");
                    root.remove("EFI/BOOT/old.efi").unwrap();
                });
            },
            &[
                "undeclared-boot-file:/boot/efi/EFI/BOOT/old.efi",
                "undeclared-boot-file:/boot/efi/startup.nsh",
            ],
            &["undeclared-boot-file:/boot/efi/startup.nsh"],
        ),
        (
            // Cluster that no file has.
            &|disk| noise(&mut disk[part(2)][3 << 20..][..2048]),
            &["not-looked-at:EFI partition 2"],
            &[],
        ),
        (
            &|disk| disk[part(2)][300] ^= 1,
            &["undeclared-boot-code:boot sectors of the EFI partition 2"],
            &["undeclared-boot-code:boot sectors of the EFI partition 2"],
        ),
        (
            &|disk| {
                let mut changed = partitions();
                changed[2].attributes = 4;
                put_table(disk, changed);
            },
            &["undeclared-boot-code:partition table"],
            &["undeclared-boot-code:partition table"],
        ),
        (
            // Behind the header, where no checksum counts.
            &|disk| disk[SECTOR_BYTES + 300] = 1,
            &["undeclared-boot-code:partition table"],
            &["undeclared-boot-code:partition table"],
        ),
        (
            &|disk| disk[boot::entry(0) + boot::STATUS] = 0x80,
            &["undeclared-boot-code:partition table"],
            &["undeclared-boot-code:partition table"],
        ),
        (
            &|disk| disk[boot::DISK_ID] = 1,
            &["undeclared-boot-code:partition table"],
            &["undeclared-boot-code:partition table"],
        ),
    ];
    let before = shared(base.clone());
    for (number, (edit, expected, left)) in cases.into_iter().enumerate() {
        let mut disk = base.clone();
        edit(&mut disk);
        let image = shared(disk);
        for (installed, expected) in [
            (&["nginx", "libgrub-dev"][..], expected),
            (&["grub-pc"], left),
            (&["shim-signed"], left),
        ] {
            let found = check(&image, &before, built(&packages(installed)))
                .unwrap()
                .findings;
            assert_eq!(ids(found), expected, "case {number} with {installed:?}");
        }
    }
}

#[test]
fn an_image_that_karat_writes_has_nothing_unexplained_whatever_its_size() {
    let scratch = tempfile::tempdir().unwrap();
    let monitor = Monitor {
        stop: &Stop::default(),
        progress: &|_| {},
    };
    let before = shared(base());
    for mebibytes in [24, 40] {
        let path = scratch.path().join(mebibytes.to_string());
        let file = fs::File::create_new(&path).unwrap();
        let source = SourceDisk::open_over(Arc::clone(&before), &before).unwrap();
        let tree = source.tree().unwrap();
        let to = (Container::Raw, &file, &*path);
        let threads = NonZeroUsize::MIN.get();
        source
            .write(&tree, mebibytes << 20, to, threads, monitor)
            .unwrap();
        let image: Arc<dyn BlockRead> = Arc::new(RawFile::open(&path).unwrap());
        let found = check(&image, &before, built(&[])).unwrap();
        assert_eq!(ids(found.findings), [""; 0], "{mebibytes} MiB");
        let mut causes = found.causes.iter();
        assert!(causes.all(|(_, cause)| *cause == Cause::Base));
        let names: Vec<_> = found.causes.iter().map(|(name, _)| &**name).collect();
        assert!(names.contains(&"boot code"), "{names:?}");
        assert!(
            names.iter().any(|name| name.starts_with("/boot/efi/EFI/")),
            "{names:?}"
        );
        assert_eq!(ids(check_foreign(&image).unwrap()), [""; 0]);
    }
}

#[test]
fn what_no_check_reads_of_another_builders_image_is_said() {
    let base = base();
    let third = "not-looked-at:partition 3";
    let cases: [(Edit, &[&str], &str); 11] = [
        (&|_| {}, &[], ""),
        (
            &|disk| {
                noise(&mut disk[..440]);
                noise(&mut disk[part(1)]);
                noise(&mut disk[40 * SECTOR_BYTES..][..9000]);
            },
            &[],
            "",
        ),
        (
            &|disk| disk[part(3)][4086..4096].copy_from_slice(b"SWAPSPACE2"),
            &[third],
            "a swap area",
        ),
        (
            &|disk| put_ext4(disk, part(3), &["grub"]),
            &[third],
            "an ext4 file system beside the root, as for `/boot`",
        ),
        (
            &|disk| disk[part(3)][512..520].copy_from_slice(b"LABELONE"),
            &[third],
            "an LVM volume",
        ),
        (
            &|disk| noise(&mut disk[part(3)]),
            &[third],
            "data of an unknown kind",
        ),
        (&|disk| format_fat(&mut disk[part(3)]), &[], ""),
        (
            &|disk| noise(&mut disk[part(2)]),
            &["not-looked-at:EFI partition 2"],
            "a FAT file system that cannot be read",
        ),
        (&|disk| disk[part(2)].fill(0), &[], ""),
        (
            &|disk| disk[GAPS[0] * SECTOR_BYTES] = 1,
            &["not-looked-at:gap at sector 16384"],
            "data in no partition",
        ),
        (
            &|disk| {
                let mut larger = partitions();
                larger[3].last += 1024;
                put_table(disk, larger);
                disk[part(4).end + 600] = 1;
            },
            &["not-looked-at:end of partition 4"],
            "data behind the root file system",
        ),
    ];
    for (number, (edit, expected, kind)) in cases.into_iter().enumerate() {
        let mut disk = base.clone();
        edit(&mut disk);
        let found = check_foreign(&shared(disk)).unwrap();
        for finding in &found {
            assert!(finding.evidence.starts_with(kind), "{number}: {finding:?}");
        }
        assert_eq!(ids(found), expected, "case {number}");
    }
    assert_eq!(SECTOR, SECTOR_BYTES as u64);
}
