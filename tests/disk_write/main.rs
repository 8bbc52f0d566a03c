//! Trees written anew: clean for e2fsck, the same for the kernel, the same bytes every time.

mod files;
mod host;
mod image;

use std::fs::File;
use std::path::Path;

use host::Host;
use image::{Mounted, assert_clean, run};
use karat::disk::read::ext4::Superblock;
use karat::disk::read::partitions::Table;
use karat::disk::read::{BlockRead as _, RawFile};
use karat::disk::tree::{Contents, Tree, Watch, listing};
use karat::disk::write::{self, Base, Format, Written, find_root, write_qcow2, write_raw};
use karat::hashing::Stop;

/// Kinds of file systems: a name, the size in MiB, and what mke2fs is told.
const KINDS: [(&str, u64, &str); 8] = [
    ("usual", 300, ""),
    ("1k blocks", 200, "-b 1024"),
    ("2k blocks", 200, "-b 2048 -I 512"),
    ("no checksums", 200, "-O ^metadata_csum,uninit_bg"),
    ("old", 200, "-O ^metadata_csum,^uninit_bg,^64bit,^flex_bg,^resize_inode,^has_journal,^dir_index"),
    ("small inodes", 200, "-I 128 -O ^metadata_csum,^extra_isize"),
    ("values apart", 200, "-O ea_inode,metadata_csum_seed,large_dir,inline_data -E hash_seed=6f3b1b9e-6c0f-4d0c-9d1e-3a1f0a2b4c5d"),
    ("many groups", 3000, "-O orphan_file,meta_bg,^resize_inode -g 8192"),
];

fn watch() -> Watch<'static> {
    static STOP: std::sync::LazyLock<Stop> = std::sync::LazyLock::new(Stop::default);
    Watch { stop: &STOP, progress: &|_| {} }
}

/// Makes a file system and fills it.
fn make(scratch: &Path, megabytes: u64, options: &str) -> std::path::PathBuf {
    let image = scratch.join("base.img");
    File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
    let mut arguments = vec!["-q", "-F", "-t", "ext4", "-L", "root", "-U", "db319222-e7d9-4494-8be2-53e30d6a3e37"];
    arguments.extend(options.split(' ').filter(|option| !option.is_empty()));
    arguments.push(image.to_str().unwrap());
    run("mke2fs", &arguments);
    image
}

/// What is at a mount point, as a listing.
fn listed(files: &Host, tree: &Tree) -> String {
    let contents = Contents::read(tree, files, 4096, 2, watch()).unwrap();
    String::from_utf8(listing(tree, &contents).unwrap()).unwrap()
}

#[derive(Clone, Copy)]
enum Container {
    Raw,
    Qcow2,
}

/// Writes the tree that is mounted from `base` anew.
fn write(base: &Path, files: &Host, tree: &Tree, to: &Path, size: u64, (container, threads): (Container, usize)) -> Written {
    let disk = RawFile::open(base).unwrap();
    let superblock = Superblock::read(&disk).unwrap();
    let format = Format::from_superblock(&superblock).unwrap();
    let contents = Contents::read(tree, files, format.block_size(), threads, watch()).unwrap();
    let root = find_root(&disk, &Table::None).unwrap();
    let base = Base { disk: &disk, table: &Table::None, root, format: &format };
    let made = write::disk(base, size, tree, &contents, files).unwrap();
    let file = File::options().create_new(true).read(true).write(true).open(to).unwrap();
    match container {
        Container::Raw => write_raw(&made, &file, to, threads, watch()).unwrap(),
        Container::Qcow2 => write_qcow2(&made, &file, to, threads, watch()).unwrap(),
    }
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
        let written = write(&base, &files, &tree, &raw, size, (Container::Raw, 2));
        assert_clean(&raw);
        let new = Mounted::new(&raw, &scratch.path().join("new"), "ro");
        let after = Host::new(new.path());
        let after_tree = Tree::read(&after).unwrap();
        let (expected, found) = (listed(&files, &tree), listed(&after, &after_tree));
        if expected != found {
            let difference = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
            panic!("{name}: {difference:?}");
        }
        eprintln!("{name}: {} MiB written", written.size >> 20);
    }
}
