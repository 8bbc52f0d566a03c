//! Image formats, partition tables and FAT, as other programs write them.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use karat::disk::read::fat::Fat;
use karat::disk::read::partitions::{self, Table};
use karat::disk::read::qcow2::{Layer, Qcow2, open_chain};
use karat::disk::read::{BlockRead, FileSystem as _, Memory, RawFile, Slice, walk};

use super::populate::noise;
use super::site::{Site, success};

/// All bytes, read in pieces that fit no cluster, from several threads at once; and the spans say nothing false of them.
fn bytes(disk: &Arc<dyn BlockRead>) -> Vec<u8> {
    let mut all = vec![0xaa; usize::try_from(disk.len()).unwrap()];
    std::thread::scope(|scope| {
        for (index, part) in all.chunks_mut(3_000_001).enumerate() {
            scope.spawn(move || {
                let start = index as u64 * 3_000_001;
                for (at, piece) in (0..).step_by(77_777).zip(part.chunks_mut(77_777)) {
                    disk.read_at(start + at, piece).unwrap();
                }
            });
        }
    });
    let mut at = 0;
    while at < disk.len() {
        let span = disk.span(at).unwrap();
        assert!(span.length > 0, "nothing at {at}");
        let (from, to) = (
            usize::try_from(at).unwrap(),
            usize::try_from(at + span.length).unwrap(),
        );
        assert!(
            !span.zero || all[from..to].iter().all(|byte| *byte == 0),
            "{from} to {to} are not zeros"
        );
        at += span.length;
    }
    assert!(disk.read_at(disk.len(), &mut [0]).is_err());
    all
}

/// Zeros, text, noise, holes: clusters of every kind.
pub fn content() -> Vec<u8> {
    let mut content = vec![0; 9 << 20];
    content[..500_000].copy_from_slice(&noise(1, 500_000));
    for (index, line) in content[1 << 20..3 << 20].chunks_mut(16).enumerate() {
        line.copy_from_slice(format!("{index:015}\n").as_bytes());
    }
    content[8 << 20..][..5000].copy_from_slice(&noise(2, 5000));
    let end = content.len();
    content[end - 700..].fill(7);
    content
}

#[test]
fn every_kind_of_qcow2_is_read_as_qemu_reads_it() {
    let site = Site::new();
    fs::write(site.path("raw"), content()).unwrap();
    for options in [
        "-o compat=0.10",
        "-o compat=1.1",
        "-o cluster_size=512",
        "-o cluster_size=2M",
        "-c",
        "-c -o compat=0.10",
        "-c -o cluster_size=512",
        "-c -o compression_type=zstd",
        "-c -W -m 4 -o compression_type=zstd,cluster_size=4k",
        "-c -o compression_type=zstd,cluster_size=2M",
        "-o extended_l2=on",
        "-c -o extended_l2=on,cluster_size=128k,compression_type=zstd",
        "-o lazy_refcounts=on,preallocation=metadata",
    ] {
        let image = site.text("image");
        let raw = site.text("raw");
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options.split(' '));
        arguments.extend([raw.as_str(), image.as_str()]);
        success("qemu-img", &arguments);
        let disk = open_chain(&[Layer::Qcow2(image.into())])
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        assert!(bytes(&disk) == content(), "{options}: other bytes");
    }
}

#[test]
fn a_chain_is_read_as_qemu_reads_it() {
    let site = Site::new();
    fs::write(site.path("raw"), content()).unwrap();
    let at = |name: &str| site.text(name);
    let image = |arguments: &str| {
        let arguments: Vec<_> = arguments
            .split(' ')
            .map(|word| word.replace('@', &site.text("")))
            .collect();
        success(
            "qemu-img",
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };
    for (base, overlay) in [
        ("-c -o compression_type=zstd", ""),
        ("", "-o extended_l2=on,cluster_size=64k"),
        ("-o cluster_size=4k", "-o cluster_size=1M"),
    ] {
        image(&format!("convert -f raw -O qcow2 {base} @raw @base").replace("  ", " "));
        image(
            &format!("create -q -f qcow2 {overlay} -b @base -F qcow2 @middle 12M")
                .replace("  ", " "),
        );
        image("create -q -f qcow2 -b @middle -F qcow2 @top 20M");
        for (file, commands) in [
            (
                "middle",
                vec![
                    "write -P 1 100k 300k",
                    "write -z 2M 64k",
                    "write -P 2 11M 1k",
                    "discard 8M 1M",
                ],
            ),
            (
                "top",
                vec![
                    "write -P 3 250k 70k",
                    "write -P 4 19M 512",
                    "write -z 500k 3k",
                ],
            ),
        ] {
            let file = at(file);
            let mut arguments = vec!["-f", "qcow2"];
            arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
            arguments.push(&file);
            success("qemu-io", &arguments);
        }
        image("convert -f qcow2 -O raw @top @flat");
        let layers = ["top", "middle", "base"].map(|name| Layer::Qcow2(site.path(name)));
        let disk = open_chain(&layers).unwrap();
        assert!(
            bytes(&disk) == fs::read(site.path("flat")).unwrap(),
            "{base} {overlay}: other bytes"
        );
        // What a header names is never opened: it has to be given, and nothing else can be.
        assert!(open_chain(&layers[..2]).is_err(), "an overlay alone");
        assert!(
            open_chain(&[layers[2].clone(), Layer::Raw(site.path("raw"))]).is_err(),
            "something below a base"
        );
        assert!(
            open_chain(&[Layer::Raw(site.path("raw")), layers[2].clone()]).is_err(),
            "a raw overlay"
        );
    }
    assert!(open_chain(&[]).is_err());
}

#[test]
fn what_karat_cannot_read_says_so() {
    let site = Site::new();
    let at = |name: &str| site.text(name);
    let data = format!("data_file={}", at("data"));
    for (options, expected) in [(vec!["-o", data.as_str()], "its data in another file")] {
        let image = at("image");
        let mut arguments = vec!["create", "-q", "-f", "qcow2"];
        arguments.extend(options);
        arguments.extend([image.as_str(), "1M"]);
        success("qemu-img", &arguments);
        let file = RawFile::open(&site.path("image")).unwrap();
        let error = Qcow2::open(file, None).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    success(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", &at("plain"), "1M"],
    );
    let plain = fs::read(site.path("plain")).unwrap();
    for (at, byte, expected) in [
        (0, 0, "does not start like one"),
        (7, 4, "version 4"),
        (23, 40, "2^40"),
        (35, 1, "encryption"),
        (79, 2, "marked so"),
        (79, 64, "unknown features (0x40)"),
        (24, 0x7f, "do not cover"),
    ] {
        let mut bytes = plain.clone();
        bytes[at] = byte;
        let error = Qcow2::open(Memory(bytes), None).err().unwrap().to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
}

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

#[test]
fn partition_tables_are_read_as_sfdisk_writes_them() {
    let site = Site::new();
    let gpt = "label: gpt\nlabel-id: 01234567-89AB-CDEF-0123-456789ABCDEF\n\
        start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name=\"bios\"\n\
        start=4096, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=11111111-2222-3333-4444-555555555555, attrs=\"LegacyBIOSBootable\"\n\
        start=20480, size=81920, type=L, name=\"r\u{f6}\u{f6}t\"\n";
    sfdisk(&site, gpt);
    let open = || RawFile::open(&site.path("disk")).unwrap();
    let Table::Gpt(first) = partitions::read(&open()).unwrap() else {
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

    sfdisk(
        &site,
        "label: dos\nlabel-id: 0xdeadbeef\nstart=2048, size=2048, type=83, bootable\nstart=8192, size=100000, type=5\n\
        start=10240, size=2048, type=82\nstart=20480, size=4096, type=83\nstart=40960, size=20480, type=8e\n",
    );
    let Table::Mbr(table) = partitions::read(&open()).unwrap() else {
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

/// A FAT file system that `fatfs` writes, with long and short names, nested directories, and files of more and less than a cluster.
pub fn fat(size: usize, kind: fatfs::FatType, cluster: u32) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let mut volume = std::io::Cursor::new(vec![0; size]);
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(kind)
        .bytes_per_cluster(cluster);
    fatfs::format_volume(&mut volume, options).unwrap();
    let mut files = Vec::new();
    {
        let made = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).unwrap();
        let root = made.root_dir();
        root.create_dir("EFI").unwrap().create_dir("BOOT").unwrap();
        root.create_dir("a directory with a long name")
            .unwrap()
            .create_dir("b")
            .unwrap();
        for (index, path) in [
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/grub.cfg",
            "EFI/empty",
            "a directory with a long name/b/\u{e4}\u{20ac} long name.text",
            "README.TXT",
        ]
        .into_iter()
        .enumerate()
        {
            let content = if path.ends_with("empty") {
                Vec::new()
            } else {
                noise(index as u64, 3 + 30_000 * index)
            };
            root.create_file(path).unwrap().write_all(&content).unwrap();
            files.push((path.to_owned(), content));
        }
        for index in 0..100 {
            let path = format!("EFI/file number {index}");
            root.create_file(&path)
                .unwrap()
                .write_all(path.as_bytes())
                .unwrap();
            files.push((path.clone(), path.into_bytes()));
        }
        for index in (0..100).step_by(2) {
            root.remove(&format!("EFI/file number {index}")).unwrap();
        }
        files.retain(|(path, _)| {
            !path
                .strip_prefix("EFI/file number ")
                .is_some_and(|index| index.parse::<u32>().unwrap() % 2 == 0)
        });
    }
    volume.rewind().unwrap();
    let mut bytes = Vec::new();
    volume.read_to_end(&mut bytes).unwrap();
    files.sort();
    (bytes, files)
}

#[test]
fn fat_is_read_as_it_was_written() {
    for (size, kind, cluster) in [
        (2 << 20, fatfs::FatType::Fat12, 1024),
        (16 << 20, fatfs::FatType::Fat16, 2048),
        (48 << 20, fatfs::FatType::Fat32, 512),
    ] {
        let (bytes, files) = fat(size, kind, cluster);
        let disk = Slice::new(Memory(bytes), 0, size as u64).unwrap();
        assert!(Fat::is_at(&disk));
        let file_system = Fat::open(Arc::new(disk)).unwrap();
        let mut found = Vec::new();
        walk(&file_system, |path, inode, metadata| {
            if metadata.kind == karat::disk::read::Kind::File {
                let mut content = vec![0; usize::try_from(metadata.size).unwrap() + 1];
                let length = file_system.read_at(inode, 0, &mut content).unwrap();
                content.truncate(length);
                assert!(
                    metadata.mtime.seconds >= 315_532_800,
                    "{:?}",
                    metadata.mtime
                );
                found.push((String::from_utf8(path.to_vec()).unwrap(), content));
            }
            Ok::<_, karat::disk::read::ReadError>(())
        })
        .unwrap();
        found.sort();
        assert!(
            found == files,
            "{kind:?}: {:?}",
            found.iter().map(|(path, _)| path).collect::<Vec<_>>()
        );
    }
}

#[test]
fn fat_is_read_as_mtools_writes_it() {
    let site = Site::new();
    let image = site.text("esp");
    let drive = ["-i", image.as_str()];
    let mtools =
        |program: &str, arguments: &[&str]| success(program, &[&drive, arguments].concat());
    mtools(
        "mformat",
        &["-C", "-T", "32768", "-h", "16", "-s", "63", "::"],
    );
    fs::write(site.path("small.cfg"), noise(1, 5000)).unwrap();
    mtools("mmd", &["::/efi"]);
    mtools("mcopy", &[&site.text("small.cfg"), "::/efi/small.cfg"]);
    mtools("mcopy", &[&site.text("small.cfg"), "::/efi/Mixed Case.cfg"]);
    let file_system = Fat::open(Arc::new(RawFile::open(&site.path("esp")).unwrap())).unwrap();
    let mut paths = Vec::new();
    walk(&file_system, |path, inode, metadata| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        if path.ends_with(".cfg") {
            let mut content = vec![0; 5000];
            assert_eq!(
                (
                    file_system.read_at(inode, 0, &mut content).unwrap(),
                    metadata.size
                ),
                (5000, 5000)
            );
            assert!(content == noise(1, 5000), "{path}");
        }
        paths.push(path);
        Ok::<_, karat::disk::read::ReadError>(())
    })
    .unwrap();
    assert_eq!(paths, ["", "efi", "efi/Mixed Case.cfg", "efi/small.cfg"]);
}
