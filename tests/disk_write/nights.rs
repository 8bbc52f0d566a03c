//! Nightly images of one template: what the next one costs in the store.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use karat::disk::tree::Tree;
use karat::store::Store;
use karat::ui::Ui;

use super::host::Host;
use super::image::assert_clean;
use super::{Container, make, write};

/// Nights, and what all their images may take on the disk: less than so many full ones.
const NIGHTS: u64 = 30;
const FULL: u64 = 3;
/// In a night one package in so many is upgraded, and two at least: in stable releases it is less.
const ONE_IN: usize = 150;
/// MiB of files. `KARAT_SOAK_MIB` asks for more.
const USUAL: u64 = 80;
/// Larger packages are taken where there are not enough of these: few of them would be most of the tree.
const LARGEST: u64 = 1 << 20;
/// 2026-01-01.
const FIRST: u64 = 1_767_225_600;

/// Numbers without any order, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Packages of this machine, with their files, in a directory.
struct System {
    root: PathBuf,
    packages: BTreeMap<String, Package>,
    chance: Chance,
}

struct Package {
    files: Vec<PathBuf>,
    version: u64,
}

impl System {
    /// Copies packages, evenly chosen, until there are so many bytes.
    fn new(root: &Path, bytes: u64) -> Self {
        fs::create_dir_all(root.join("lost+found")).unwrap();
        fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        let lists = fs::read_dir("/var/lib/dpkg/info").unwrap();
        let lists = lists.map(|entry| entry.unwrap().path());
        let lists = lists.filter(|path| path.extension().is_some_and(|it| it == "list"));
        let mut listed: Vec<_> = lists.map(|list| (regular_files(&list), list)).collect();
        listed.sort_by_cached_key(|((bytes, _), list)| {
            let chance = crc32c::crc32c(list.as_os_str().as_encoded_bytes());
            (bytes.next_multiple_of(LARGEST), chance)
        });
        let mut system = Self {
            root: root.to_owned(),
            packages: BTreeMap::new(),
            chance: Chance(1),
        };
        let mut copied = 0;
        for ((size, files), list) in listed {
            if copied < bytes && !files.is_empty() {
                system.copy(&list, &files);
                copied += size;
            }
        }
        assert!(
            copied >= bytes,
            "this machine has only {copied} bytes of packages"
        );
        for package in system.packages.keys().cloned().collect::<Vec<_>>() {
            system.record(&package, FIRST);
        }
        system.status(FIRST);
        system
    }

    fn copy(&mut self, list: &Path, files: &[PathBuf]) {
        let mut copies = Vec::new();
        for file in files {
            let to = self.root.join(file.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(file, &to).unwrap();
            let time = fs::metadata(file).unwrap().modified().unwrap();
            touch(&to, time.min(at(FIRST)));
            copies.push(to);
        }
        let name = list.file_stem().unwrap().to_string_lossy().into_owned();
        let package = Package {
            files: copies,
            version: 1,
        };
        self.packages.insert(name, package);
    }

    /// Upgrades some packages: each of their files has other bytes and another size, one is new, and one may be gone.
    fn upgrade(&mut self, now: u64) {
        let names: Vec<_> = self.packages.keys().cloned().collect();
        for _ in 0..(names.len() / ONE_IN).max(2) {
            let name = &names[self.chance.below(names.len())];
            let package = self.packages.get_mut(name).unwrap();
            package.version += 1;
            for file in &package.files {
                change(file, &mut self.chance);
                touch(file, at(now));
            }
            let more = format!("{name}-{}", package.version);
            let more = package.files[0].with_file_name(more);
            fs::write(&more, format!("{name} {now}\n").repeat(100)).unwrap();
            touch(&more, at(now));
            package.files.push(more);
            if package.files.len() > 5 && self.chance.below(3) == 0 {
                let gone = self.chance.below(package.files.len());
                fs::remove_file(package.files.remove(gone)).unwrap();
            }
            let name = name.clone();
            self.record(&name, now);
        }
        self.status(now);
    }

    /// What dpkg knows of a package.
    fn record(&self, name: &str, now: u64) {
        let info = self.root.join("var/lib/dpkg/info");
        let files = &self.packages[name].files;
        let (mut list, mut sums) = (String::new(), String::new());
        for file in files {
            let sum = crc32c::crc32c(&fs::read(file).unwrap());
            let file = file.strip_prefix(&self.root).unwrap().display();
            writeln!(list, "/{file}").unwrap();
            writeln!(sums, "{sum:032x}  {file}").unwrap();
        }
        for (kind, text) in [("list", list), ("md5sums", sums)] {
            let path = info.join(format!("{name}.{kind}"));
            fs::write(&path, text).unwrap();
            touch(&path, at(now));
        }
    }

    /// What is written anew in every night, whatever was upgraded.
    fn status(&self, now: u64) {
        let real = fs::read_to_string("/var/lib/dpkg/status").unwrap();
        let mut versions = String::new();
        for (name, Package { version, .. }) in &self.packages {
            writeln!(versions, "Package: {name}\nVersion: {version}\n").unwrap();
        }
        for (name, text) in [
            ("var/lib/dpkg/status", versions + &real),
            ("etc/machine-build", format!("{now}\n")),
            ("etc/ld.so.cache", format!("{now}").repeat(3000)),
        ] {
            let path = self.root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            touch(&path, at(now));
        }
        touch_directories(&self.root, at(now));
    }
}

/// The files of a package, and how large they are together.
fn regular_files(list: &Path) -> (u64, Vec<PathBuf>) {
    let text = fs::read_to_string(list).unwrap();
    let mut bytes = 0;
    let regular = |path: &PathBuf| {
        let data = fs::symlink_metadata(path).ok();
        let data = data.filter(|data| data.is_file() && data.nlink() == 1);
        bytes += data.as_ref().map_or(0, fs::Metadata::len);
        data.is_some()
    };
    let files = text.lines().map(PathBuf::from).filter(regular).collect();
    (bytes, files)
}

/// Changes a byte of every half KiB, and inserts or removes some in the middle.
fn change(file: &Path, chance: &mut Chance) {
    let mut bytes = fs::read(file).unwrap();
    for at in (0..bytes.len()).step_by(512) {
        bytes[at] ^= 1 + chance.below(255).to_le_bytes()[0];
    }
    let middle = bytes.len() / 2;
    let some = chance.below(bytes.len() / 16 + 64);
    if chance.below(2) == 0 {
        bytes.drain(middle..(middle + some).min(bytes.len()));
    } else {
        let more: Vec<_> = (0..some)
            .map(|_| chance.below(64).to_le_bytes()[0])
            .collect();
        bytes.splice(middle..middle, more);
    }
    fs::write(file, bytes).unwrap();
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn touch(file: &Path, time: SystemTime) {
    let times = FileTimes::new().set_modified(time);
    File::open(file).unwrap().set_times(times).unwrap();
}

/// Directories that this test has written to are younger than any night; a finish takes that back.
fn touch_directories(directory: &Path, time: SystemTime) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            touch_directories(&entry.path(), time);
        }
    }
    touch(directory, time);
}

/// Bytes of the blocks of all files below a directory.
fn disk_usage(directory: &Path) -> u64 {
    let usage = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        data if data.is_dir() => disk_usage(&entry.path()) + data.blocks() * 512,
        data => data.blocks() * 512,
    };
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| usage(entry.unwrap())).sum()
}

#[test]
fn thirty_nightly_images_cost_less_than_three_full_ones() {
    let scratch = tempfile::tempdir().unwrap();
    let asked = std::env::var("KARAT_SOAK_MIB").ok();
    let megabytes = asked.map_or(USUAL, |asked| asked.parse().unwrap());
    let mut system = System::new(&scratch.path().join("tree"), megabytes << 20);
    let base = make(scratch.path(), megabytes * 3 + 200, "-b 4096");
    let store = Store::new(scratch.path().join("store"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let image = scratch.path().join("image");
    let (mut full, mut before, began) = (0, 0, Instant::now());
    for night in 0..NIGHTS {
        if night > 0 {
            system.upgrade(FIRST + night * 86_400);
        }
        let files = Host::new(&system.root);
        let tree = Tree::read(&files).unwrap();
        let size = fs::metadata(&base).unwrap().len();
        if night == 0 || night == NIGHTS - 1 {
            let raw = scratch.path().join("raw");
            write(&base, &files, &tree, &raw, size, (Container::Raw, 2));
            assert_clean(&raw);
            fs::remove_file(raw).unwrap();
        }
        write(&base, &files, &tree, &image, size, (Container::Qcow2, 2));
        full = full.max(fs::metadata(&image).unwrap().len());
        runtime.block_on(async {
            let writing = store.begin().await.unwrap();
            writing.add_image(&image, &Ui::default()).await.unwrap();
        });
        let usage = disk_usage(store.root());
        eprintln!(
            "night {night}: {} KiB more, {:.2} full images in all, {:?}",
            (usage - before) >> 10,
            f64::from(u32::try_from(usage >> 10).unwrap())
                / f64::from(u32::try_from(full >> 10).unwrap()),
            began.elapsed()
        );
        before = usage;
    }
    assert!(
        before < FULL * full,
        "{before} bytes for {NIGHTS} images of {full}"
    );
}
