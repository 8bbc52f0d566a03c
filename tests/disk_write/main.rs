//! Trees written anew: clean for e2fsck, the same for the kernel, the same bytes every time.

mod containers;
mod files;
mod host;
mod image;
mod nights;
mod partitions;
mod random;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use host::Host;
use image::{Mounted, assert_clean, output, run};
use karat::disk::read::ext4::{Ext4, Superblock};
use karat::disk::read::partitions::Table;
use karat::disk::read::{BlockRead as _, FileSystem, RawFile};
use karat::disk::tree::{Contents, Monitor, Tree, listing};
use karat::disk::write::{self, BaseDisk, Format, HashedImage, find_root, write_qcow2, write_raw};
use karat::os::hash_stream::Stop;

/// Kinds of file systems: a name, the size in MiB, and what mke2fs is told.
const KINDS: [(&str, u64, &str); 8] = [
    ("usual", 300, "-b 4096"),
    ("1k blocks", 200, "-b 1024"),
    ("2k blocks", 200, "-b 2048 -I 512"),
    ("no checksums", 200, "-b 4096 -O ^metadata_csum,uninit_bg"),
    (
        "old",
        200,
        "-b 4096 -O ^metadata_csum,^uninit_bg,^64bit,^flex_bg,^resize_inode,^has_journal,^dir_index",
    ),
    (
        "small inodes",
        200,
        "-b 4096 -I 128 -O ^metadata_csum,^extra_isize",
    ),
    (
        "values apart",
        200,
        "-b 4096 -O ea_inode,metadata_csum_seed,large_dir,inline_data -E hash_seed=6f3b1b9e-6c0f-4d0c-9d1e-3a1f0a2b4c5d",
    ),
    (
        "many groups",
        3000,
        "-b 4096 -O orphan_file,meta_bg,^resize_inode -g 8192",
    ),
];

fn watch() -> Monitor<'static> {
    static STOP: std::sync::LazyLock<Stop> = std::sync::LazyLock::new(Stop::default);
    Monitor {
        stop: &STOP,
        progress: &|_| {},
    }
}

/// Makes a file system and fills it.
fn make(scratch: &Path, megabytes: u64, options: &str) -> std::path::PathBuf {
    let image = scratch.join("base.img");
    File::create(&image)
        .unwrap()
        .set_len(megabytes << 20)
        .unwrap();
    let mut arguments = vec![
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        "root",
        "-U",
        "db319222-e7d9-4494-8be2-53e30d6a3e37",
    ];
    arguments.extend(options.split(' ').filter(|option| !option.is_empty()));
    arguments.push(image.to_str().unwrap());
    run("mke2fs", &arguments);
    image
}

/// What is at a mount point, as a listing.
fn listed(files: &dyn FileSystem, tree: &Tree) -> String {
    let contents = Contents::read(tree, files, 4096, 2, watch()).unwrap();
    String::from_utf8(listing(tree, &contents).unwrap()).unwrap()
}

#[derive(Clone, Copy)]
enum Container {
    Raw,
    Qcow2,
}

/// Writes the tree that is mounted from `base` anew.
fn write(
    base: &Path,
    files: &dyn FileSystem,
    tree: &Tree,
    to: &Path,
    size: u64,
    (container, threads): (Container, usize),
) -> HashedImage {
    let disk = RawFile::open(base).unwrap();
    let superblock = Superblock::read(&disk).unwrap();
    let format = Format::from_superblock(&superblock).unwrap();
    let contents = Contents::read(tree, files, format.block_size(), threads, watch()).unwrap();
    let root = find_root(&disk, &Table::None).unwrap();
    let base = BaseDisk {
        disk: &disk,
        table: &Table::None,
        root,
        format: &format,
    };
    let made = write::disk(base, size, tree, &contents, files).unwrap();
    let file = File::create_new(to).unwrap();
    let written = match container {
        Container::Raw => write_raw(&made, &file, to, threads, watch()),
        Container::Qcow2 => write_qcow2(&made, &file, to, threads, watch()),
    };
    written.unwrap().hash(&file, to, watch()).unwrap()
}

#[test]
fn every_kind_of_file_system_is_written_as_the_kernel_shows_it() {
    for (name, megabytes, options) in KINDS {
        eprintln!("{name}: mke2fs {options}");
        let scratch = tempfile::tempdir().unwrap();
        let base = make(scratch.path(), megabytes, options);
        let old = name == "small inodes";
        {
            let mounted = Mounted::new(&base, &scratch.path().join("mnt"), "rw");
            files::fill(mounted.path(), 3000);
            match name {
                "usual" => files::huge(mounted.path()),
                "values apart" => files::large_attribute(mounted.path()),
                _ => {}
            }
            if old {
                // Their times do not fit.
                for year in ["2038", "2200", "2446", "1969"] {
                    std::fs::remove_file(mounted.path().join(year)).unwrap();
                }
            }
        }
        assert_clean(&base);
        let mounted = Mounted::new(&base, &scratch.path().join("mnt"), "ro");
        let files = Host::new(mounted.path());
        let tree = Tree::read(&files).unwrap();
        let size = RawFile::open(&base).unwrap().len();
        let raw = scratch.path().join("new.img");
        write(&base, &files, &tree, &raw, size, (Container::Raw, 2));
        assert_clean(&raw);
        let new = Mounted::new(&raw, &scratch.path().join("new"), "ro");
        let after = Host::new(new.path());
        let after_tree = Tree::read(&after).unwrap();
        let (expected, found) = (listed(&files, &tree), listed(&after, &after_tree));
        if expected != found {
            let difference = expected
                .lines()
                .zip(found.lines())
                .find(|(one, other)| one != other);
            panic!("{name}: {difference:?}");
        }
        let own = Ext4::open(Arc::new(RawFile::open(&raw).unwrap())).unwrap();
        let own_tree = Tree::read(&own).unwrap();
        assert!(
            listed(&own, &own_tree) == expected,
            "{name}: karat reads what it wrote as something else"
        );
    }
}

#[test]
fn images_are_sound_and_the_same_for_any_number_of_threads() {
    let scratch = tempfile::tempdir().unwrap();
    let base = make(scratch.path(), 300, "-b 4096");
    {
        let mounted = Mounted::new(&base, &scratch.path().join("mnt"), "rw");
        files::fill(mounted.path(), 100);
        // What cannot be compressed is stored as it is.
        let noise = noise(3_000_000);
        std::fs::write(mounted.path().join("noise"), &noise).unwrap();
        std::fs::write(
            mounted.path().join("mixture"),
            [&noise[..100_000], &vec![7; 100_000], &noise[..70_000]].concat(),
        )
        .unwrap();
    }
    let mounted = Mounted::new(&base, &scratch.path().join("mnt"), "ro");
    let files = Host::new(mounted.path());
    let tree = Tree::read(&files).unwrap();
    // No multiple of a cluster, and more than one second table.
    let size = (1 << 30) + (5 << 20) + 12_288;
    let mut results = Vec::new();
    for (name, how) in [
        ("1.raw", (Container::Raw, 1)),
        ("3.raw", (Container::Raw, 3)),
        ("1.qcow2", (Container::Qcow2, 1)),
        ("2.qcow2", (Container::Qcow2, 2)),
        ("5.qcow2", (Container::Qcow2, 5)),
    ] {
        let path = scratch.path().join(name);
        let written = write(&base, &files, &tree, &path, size, how);
        assert_eq!(
            (written.virtual_size, written.size),
            (size, path.metadata().unwrap().len()),
            "{name}"
        );
        let sum = run("sha256sum", &[path.to_str().unwrap()]);
        assert_eq!(
            sum.split(' ').next(),
            Some(&*written.digest.hex()),
            "{name}"
        );
        results.push((path, written));
    }
    assert_eq!(results[0].1, results[1].1, "raw");
    assert_eq!(results[2].1, results[3].1, "qcow2 with 1 and 2 threads");
    assert_eq!(results[2].1, results[4].1, "qcow2 with 1 and 5 threads");
    assert_eq!(
        results[0].1.content, results[2].1.content,
        "the content of raw and qcow2"
    );
    assert_eq!(
        content_of(&std::fs::read(&results[0].0).unwrap()),
        results[0].1.content.hex(),
        "the digest of the disk's content"
    );
    let [raw, qcow2] = [&results[0].0, &results[2].0].map(|path| path.to_str().unwrap());
    run("qemu-img", &["check", "-f", "qcow2", qcow2]);
    run(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "qcow2", raw, qcow2],
    );
    let info = run("qemu-img", &["info", qcow2]);
    assert!(info.contains("compression type: zstd"), "{info}");
}

/// The digest of a disk's content as README says that anybody can compute it: by `split` and `sha256sum`.
fn content_of(disk: &[u8]) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let raw = scratch.path().join("disk.raw");
    std::fs::write(&raw, disk).unwrap();
    let script = "split -b 1M --filter='sha256sum | cut -c1-64' \"$1\" | tr -d '\\n' | tr a-f A-F | basenc --base16 -d | sha256sum | cut -c1-64";
    run("sh", &["-c", script, "sh", raw.to_str().unwrap()])
        .trim()
        .to_owned()
}

/// Bytes without any order, the same each time.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn what_is_written_grows_while_it_is_mounted() {
    for (name, megabytes, options) in [KINDS[0], KINDS[1], KINDS[4]] {
        let scratch = tempfile::tempdir().unwrap();
        let base = make(scratch.path(), megabytes, options);
        {
            let mounted = Mounted::new(&base, &scratch.path().join("mnt"), "rw");
            files::fill(mounted.path(), 10);
            files::swap(mounted.path());
        }
        let mounted = Mounted::new(&base, &scratch.path().join("mnt"), "ro");
        let files = Host::new(mounted.path());
        let tree = Tree::read(&files).unwrap();
        let raw = scratch.path().join("new.img");
        let size = RawFile::open(&base).unwrap().len();
        write(&base, &files, &tree, &raw, size, (Container::Raw, 2));
        File::options()
            .write(true)
            .open(&raw)
            .unwrap()
            .set_len(6 << 30)
            .unwrap();
        {
            let mut new = Mounted::new(&raw, &scratch.path().join("new"), "rw");
            let device = run(
                "findmnt",
                &["-n", "-o", "SOURCE", new.path().to_str().unwrap()],
            );
            let grown = output("resize2fs", &[device.trim()]);
            if String::from_utf8_lossy(&grown.stderr).contains("Permission denied to resize") {
                eprintln!(
                    "{name}: NOT GROWN ONLINE: the kernel allows that only with CAP_SYS_RESOURCE, which this container lacks; \
                     the test of a guest grows a root online. Grown offline instead."
                );
                drop(new);
                run("e2fsck", &["-fp", raw.to_str().unwrap()]);
                run("resize2fs", &[raw.to_str().unwrap()]);
                new = Mounted::new(&raw, &scratch.path().join("new"), "rw");
            } else {
                assert!(grown.status.success(), "{name}: {grown:?}");
            }
            let room = run("df", &["-k", "--output=size", new.path().to_str().unwrap()]);
            let room: u64 = room.split_whitespace().last().unwrap().parse().unwrap();
            assert!(room > (5 << 20), "{name}: {room} KiB");
            // Blocks and inodes are found where they are said to be free, and an index takes more names.
            std::fs::write(new.path().join("large2"), noise(30 << 20)).unwrap();
            for number in 0..2000 {
                std::fs::write(new.path().join(format!("many/another file {number}")), "").unwrap();
            }
            let swap = new.path().join("swapfile");
            let extents = run("filefrag", &["-v", swap.to_str().unwrap()]);
            assert!(!extents.contains("unwritten"), "{extents}");
        }
        assert_clean(&raw);
    }
}

#[test]
fn what_fits_only_without_gaps_is_written_without_gaps() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("tree");
    std::fs::create_dir_all(root.join("lost+found")).unwrap();
    // Each a little larger than a cluster, so that with gaps it takes two.
    for number in 0..600 {
        std::fs::write(root.join(number.to_string()), vec![7; 66_000]).unwrap();
    }
    let files = Host::new(&root);
    let tree = Tree::read(&files).unwrap();
    for (megabytes, gaps) in [(64, false), (200, true)] {
        let base = make(scratch.path(), megabytes, "-b 4096");
        let raw = scratch.path().join("new.img");
        let _earlier = std::fs::remove_file(&raw);
        write(
            &base,
            &files,
            &tree,
            &raw,
            megabytes << 20,
            (Container::Raw, 2),
        );
        assert_clean(&raw);
        let aligned = ["1", "2", "3", "300", "598", "599"].iter().all(|name| {
            let ask = format!("bmap /{name} 0");
            let said = run("debugfs", &["-R", &ask, raw.to_str().unwrap()]);
            let block = said.lines().find_map(|line| line.parse::<u64>().ok());
            block.unwrap().is_multiple_of(16)
        });
        assert_eq!(aligned, gaps, "in {megabytes} MiB");
    }
}
