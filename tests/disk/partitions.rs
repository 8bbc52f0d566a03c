//! Partition tables as `sfdisk` writes them.

use std::fs;

use karat::disk::read::partitions::{self, Table};
use karat::disk::read::{Memory, RawFile, ReadError};

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

    // Any damage to the first table is found. Firmware would use the backup, the kernel does not.
    for at in [512, 512 + 16, 512 + 40, 512 + 90, 1024, 1024 + 130] {
        let mut bytes = fs::read(site.path("disk")).unwrap();
        bytes[at] ^= 1;
        let error = partitions::read(&Memory(bytes.clone())).unwrap_err();
        assert!(
            matches!(error, ReadError::Ambiguous { .. }),
            "{at}: {error}"
        );
        let end = bytes.len();
        bytes[end - 512 + 20] ^= 1;
        bytes[end - 512 + 60] ^= 1;
        let error = partitions::read(&Memory(bytes)).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "{at}: {error}");
    }
    // Damage to the backup alone changes nothing, as both read the first.
    let mut bytes = fs::read(site.path("disk")).unwrap();
    let end = bytes.len();
    bytes[end - 512 + 60] ^= 1;
    assert_eq!(partitions::read(&Memory(bytes)).unwrap(), Table::Gpt(first));
}

/// A GPT with two partitions; a table in the boot sector with two primary and two logical ones.
const TABLES: [&str; 2] = [
    "label: gpt\nstart=2048, size=2048\nstart=8192, size=8192\n",
    "label: dos\nstart=2048, size=2048, type=83\nstart=8192, size=4096, type=83\n\
     start=20480, size=60000, type=5\nstart=22528, size=2048, type=83\nstart=40960, size=4096, type=83\n",
];

/// Writes an entry into the boot sector: index, type, first sector, number of sectors.
fn enter(bytes: &mut [u8], index: usize, kind: u8, first: u32, sectors: u32) {
    let entry = &mut bytes[446 + 16 * index..][..16];
    entry[4] = kind;
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
}

/// Replaces the copy of a GPT at the end by that of another disk.
fn take_backup(bytes: &mut [u8], other: &[u8]) {
    let start = bytes.len() - 33 * 512;
    bytes[start..].copy_from_slice(&other[start..]);
}

type Edit<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn a_table_that_can_be_read_in_several_ways_is_an_error() {
    let site = Site::new();
    let [gpt, mbr] = TABLES.map(|script| {
        sfdisk(&site, script);
        let bytes = fs::read(site.path("disk")).unwrap();
        partitions::read(&Memory(bytes.clone())).unwrap();
        bytes
    });
    sfdisk(
        &site,
        "label: gpt\nstart=2048, size=4096\nstart=8192, size=8192\n",
    );
    let other = fs::read(site.path("disk")).unwrap();
    let cases: [(&[u8], Edit, &str); 13] = [
        (
            &gpt,
            &|bytes| take_backup(bytes, &other),
            "other partitions than the primary",
        ),
        (
            &gpt,
            &|bytes| enter(bytes, 1, 0x83, 8192, 2048),
            "beside the protective entry",
        ),
        (
            &gpt,
            &|bytes| enter(bytes, 0, 0xee, 2, 9000),
            "the kernel ignores the GPT",
        ),
        (
            &gpt,
            &|bytes| enter(bytes, 0, 0x83, 8192, 2048),
            "without a protective entry",
        ),
        (&gpt, &|bytes| bytes[510] = 0, "without a protective entry"),
        (
            &gpt,
            &|bytes| bytes.copy_within(512..1024, 4096),
            "4096 bytes",
        ),
        (
            &gpt,
            &|bytes| bytes[..4].copy_from_slice(&[0x0b, 0xe5, 0xa9, 0x41]),
            "SGI",
        ),
        (
            &mbr,
            &|bytes| enter(bytes, 1, 0x83, 4000, 4096),
            "partition 1 and partition 2 overlap",
        ),
        (
            &mbr,
            &|bytes| enter(bytes, 1, 0x83, 22_000, 4096),
            "overlap",
        ),
        (
            &mbr,
            &|bytes| enter(bytes, 3, 0x83, 0, 100),
            "partition 4 and the table overlap",
        ),
        (&mbr, &|bytes| enter(bytes, 3, 0, 90_000, 100), "no type"),
        (
            &mbr,
            &|bytes| enter(bytes, 3, 5, 100_000, 4096),
            "several extended",
        ),
        (
            &mbr,
            &|bytes| enter(&mut bytes[20_480 * 512..], 2, 0x83, 9000, 100),
            "several of them",
        ),
    ];
    for (disk, edit, expected) in cases {
        let mut bytes = disk.to_vec();
        edit(&mut bytes);
        let error = partitions::read(&Memory(bytes)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?}, not {expected:?}");
    }
    // The kernel cuts such a partition, and karat took the disk for one without a table.
    let mut bytes = mbr.clone();
    enter(&mut bytes, 3, 0x83, 90_000, u32::MAX - 90_000);
    let error = partitions::read(&Memory(bytes)).unwrap_err().to_string();
    assert!(
        error.contains("partition 4 is outside of the disk"),
        "{error}"
    );
}

#[test]
fn partitions_of_a_gpt_that_overlap_are_an_error() {
    let site = Site::new();
    sfdisk(&site, TABLES[0]);
    let mut bytes = fs::read(site.path("disk")).unwrap();
    for (copy, entries) in [(512, 1024), (bytes.len() - 512, bytes.len() - 33 * 512)] {
        // The end of the first partition moves into the second one.
        bytes[entries + 40..entries + 48].copy_from_slice(&9000_u64.to_le_bytes());
        let checksum = crc32(&bytes[entries..entries + 128 * 128]);
        bytes[copy + 88..copy + 92].copy_from_slice(&checksum.to_le_bytes());
        bytes[copy + 16..copy + 20].fill(0);
        let checksum = crc32(&bytes[copy..copy + 92]);
        bytes[copy + 16..copy + 20].copy_from_slice(&checksum.to_le_bytes());
    }
    let error = partitions::read(&Memory(bytes)).unwrap_err().to_string();
    assert!(
        error.contains("partition 1 and partition 2 overlap"),
        "{error}"
    );
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
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
