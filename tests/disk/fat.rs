//! FAT as `fatfs` and mtools write it; a kernel may be built without it.

use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use karat::disk::read::fat::Fat;
use karat::disk::read::{FileSystem as _, FileType, Memory, RawFile, ReadError, Slice, walk};

use super::populate::noise;
use super::site::{Site, success};

/// The time of every file: 2026-01-02 03:04:06.
#[derive(Debug)]
struct Clock;

impl fatfs::TimeProvider for Clock {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date {
            year: 2026,
            month: 1,
            day: 2,
        }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime {
            date: self.get_current_date(),
            time: fatfs::Time {
                hour: 3,
                min: 4,
                sec: 6,
                millis: 0,
            },
        }
    }
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
        let made =
            fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new().time_provider(&Clock))
                .unwrap();
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
            let index = path.strip_prefix("EFI/file number ");
            index.is_none_or(|index| index.parse::<u32>().unwrap() % 2 == 1)
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
            if metadata.kind == FileType::File {
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
            Ok::<_, ReadError>(())
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
        if metadata.kind == FileType::File {
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
        Ok::<_, ReadError>(())
    })
    .unwrap();
    assert_eq!(paths, ["", "efi", "efi/Mixed Case.cfg", "efi/small.cfg"]);
}

#[test]
fn names_that_differ_in_case_only_are_one_name() {
    let site = Site::new();
    let image = site.text("esp");
    let mtools = |program: &str, arguments: &[&str]| {
        success(program, &[&["-i", image.as_str()], arguments].concat())
    };
    mtools(
        "mformat",
        &["-C", "-T", "2880", "-h", "2", "-s", "18", "::"],
    );
    fs::write(site.path("file"), "text").unwrap();
    for name in ["::/ONE.TXT", "::/TWO.TXT"] {
        mtools("mcopy", &[&site.text("file"), name]);
    }
    let mut bytes = fs::read(site.path("esp")).unwrap();
    let mut entries = bytes.windows(11);
    let second = entries.position(|name| name == b"TWO     TXT").unwrap();
    bytes[second..second + 3].copy_from_slice(b"ONE");
    // Name and extension are in lower case.
    bytes[second + 12] = 0x18;
    let files = Fat::open(Arc::new(Memory(bytes))).unwrap();
    let error = files.read_dir(files.root()).unwrap_err().to_string();
    assert!(error.contains("\"one.txt\" twice"), "{error}");
}
