//! Partition tables as `sfdisk` writes them.

use std::fs;

use karat::disk::read::partitions::{self, Table};
use karat::disk::read::{Memory, RawFile};

use super::site::{Site, success};

fn sfdisk(site: &Site, script: &str) {
    site.make_file("disk", 64 << 20);
    fs::write(site.path("script"), script).unwrap();
    let command = format!(
        "PATH=$PATH:/sbin:/usr/sbin sfdisk -q {} < {}",
        site.text("disk"),
        site.text("script")
    );
    success("sh", &["-c", &command]);
}

fn open(site: &Site) -> RawFile {
    RawFile::open(&site.path("disk")).unwrap()
}

#[test]
fn a_gpt_is_read_as_sfdisk_writes_them() {
    let site = Site::new();
    let gpt = "label: gpt\nlabel-id: 01234567-89AB-CDEF-0123-456789ABCDEF\n\
        start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name=\"bios\"\n\
        start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=11111111-2222-3333-4444-555555555555, attrs=\"LegacyBIOSBootable\"\n\
        start=20480, size=81920, type=L, name=\"r\u{f6}\u{f6}t\"\n";
    sfdisk(&site, gpt);
    let Table::Gpt(first) = partitions::read(&open(&site)).unwrap() else {
        panic!("no GPT")
    };
    assert_eq!(
        first.disk.to_string(),
        "01234567-89ab-cdef-0123-456789abcdef"
    );
    let shown: Vec<_> = first
        .partitions
        .iter()
        .map(|part| {
            (
                part.number,
                part.kind.to_string(),
                part.first,
                part.last,
                part.attributes,
                String::from_utf16_lossy(&part.name),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                1,
                "21686148-6449-6e6f-744e-656564454649".to_owned(),
                2048,
                4095,
                0,
                "bios".to_owned()
            ),
            (
                2,
                "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".to_owned(),
                4096,
                12_287,
                4,
                String::new()
            ),
            (
                3,
                "0fc63daf-8483-4772-8e79-3d69d8477de4".to_owned(),
                20_480,
                102_399,
                0,
                "r\u{f6}\u{f6}t".to_owned()
            ),
        ]
    );
    assert_eq!(
        first.partitions[1].id.to_string(),
        "11111111-2222-3333-4444-555555555555"
    );
    let extent = Table::Gpt(first.clone()).extents()[2];
    assert_eq!(
        (extent.number, extent.offset, extent.length),
        (3, 20_480 * 512, 81_920 * 512)
    );

    // Any damage to the first table is found, and the backup says the same.
    for at in [512, 512 + 16, 512 + 40, 512 + 90, 1024, 1024 + 130] {
        let mut bytes = fs::read(site.path("disk")).unwrap();
        bytes[at] ^= 1;
        let Table::Gpt(backup) = partitions::read(&Memory(bytes.clone())).unwrap() else {
            panic!("no GPT")
        };
        assert!(
            backup.from_backup && backup.partitions == first.partitions,
            "{at}"
        );
        let end = bytes.len();
        bytes[end - 512 + 20] ^= 1;
        bytes[end - 512 + 60] ^= 1;
        assert!(partitions::read(&Memory(bytes)).is_err(), "{at}");
    }
}

#[test]
fn primary_and_logical_partitions_are_read_as_sfdisk_writes_them() {
    let site = Site::new();
    sfdisk(
        &site,
        "label: dos\nlabel-id: 0xdeadbeef\nstart=2048, size=2048, type=83, bootable\nstart=8192, size=100000, type=5\n\
        start=10240, size=2048, type=82\nstart=20480, size=4096, type=83\nstart=40960, size=20480, type=8e\n",
    );
    let Table::Mbr(table) = partitions::read(&open(&site)).unwrap() else {
        panic!("no MBR")
    };
    let shown: Vec<_> = table
        .partitions
        .iter()
        .map(|part| {
            (
                part.number,
                part.kind,
                part.active,
                part.first,
                part.sectors,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (1, 0x83, true, 2048, 2048),
            (5, 0x82, false, 10_240, 2048),
            (6, 0x83, false, 20_480, 4096),
            (7, 0x8e, false, 40_960, 20_480)
        ]
    );
    assert_eq!(table.disk, 0xdead_beef);

    assert_eq!(
        partitions::read(&Memory(vec![0; 1 << 20])).unwrap(),
        Table::None
    );
    assert_eq!(partitions::read(&Memory(Vec::new())).unwrap(), Table::None);
}

#[test]
fn a_chain_of_logical_partitions_ends() {
    let site = Site::new();
    sfdisk(
        &site,
        "label: dos\nstart=8192, size=100000, type=5\nstart=10240, size=2048, type=83\nstart=20480, size=4096, type=83\n",
    );
    let mut bytes = fs::read(site.path("disk")).unwrap();
    // The second link of the chain names the first one as the next.
    let second = (8192 + u32::from_le_bytes(bytes[8192 * 512 + 470..][..4].try_into().unwrap()))
        as usize
        * 512;
    bytes[second + 462..second + 478]
        .copy_from_slice(&[0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let error = partitions::read(&Memory(bytes)).unwrap_err().to_string();
    assert!(error.contains("does not end"), "{error}");
}
