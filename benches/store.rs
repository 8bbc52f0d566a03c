//! Figures for images in the store, beside copying the same bytes: `cargo bench --bench store [-- IMAGE...]`.
//!
//! Images are added in their order, so the second one shows what an image costs that has much in common with the first; then the
//! first is exported, and its files are read. It has to be qcow2 with a system in it. Without images it takes that of the scan bench. `dd bs=1M conv=fsync` is what an export is
//! measured by: the disk's speed for one file that is written from its start to its end.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use karat::disk::normalize::source::SourceDisk;
use karat::disk::read::BlockRead;
use karat::disk::read::qcow2::{Layer, Qcow2, open_chain};
use karat::disk::tree::{Contents, Monitor};
use karat::os::hash_stream::{self, Stop};
use karat::record::manifest::Manifest;
use karat::store::{ImageDisk, Store};
use karat::ui::Ui;

mod support;

use support::{diverse_qcow2, processor_time};

const ROUNDS: usize = 10;

fn main() {
    let images: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .map(PathBuf::from)
        .collect();
    let images = if images.is_empty() {
        vec![diverse_qcow2()]
    } else {
        images
    };
    // Beside the first image, where there is room, and a disk: what is temporary may be in memory.
    let beside = fs::canonicalize(&images[0]).unwrap();
    let scratch = tempfile::tempdir_in(beside.parent().unwrap());
    let scratch = scratch.or_else(|_| tempfile::tempdir()).unwrap();
    let at = |name: &str| scratch.path().join(name);
    let store = Store::new(at("store"));
    let (runtime, ui) = (tokio::runtime::Runtime::new().unwrap(), Ui::default());
    for image in &images {
        fs::copy(image, at("image")).unwrap();
        rustix::fs::sync();
        let before = disk_usage(&at("store"));
        let (start, processors) = (Instant::now(), processor_time());
        let added = runtime.block_on(async {
            let writing = store.begin().await.unwrap();
            writing.add_image(&at("image"), &ui).await.unwrap()
        });
        let (took, used) = (start.elapsed(), processor_time().saturating_sub(processors));
        let cost = disk_usage(&at("store")) - before;
        println!(
            "add {:7.1} MiB  {:6.3} s  {:5.2} s of processors  {:7.1} MiB more on the disk ({:.1} %)",
            mebibytes(added.size),
            took.as_secs_f64(),
            used.as_secs_f64(),
            mebibytes(cost),
            100.0 * mebibytes(cost) / mebibytes(added.size),
        );
    }
    let (image, to) = (&images[0], at("copy"));
    let digest = hash_stream::digest(File::open(image).unwrap(), &Stop::default(), |_| {});
    let (digest, size) = digest.unwrap();
    let found = store.image(&digest).unwrap();
    let manifest = manifest(&digest.to_string(), size);
    let ways: [(&str, &dyn Fn()); 5] = [
        ("dd bs=1M conv=fsync", &|| dd(image, &to)),
        ("export", &|| {
            let export = store.export(&manifest, &to, false, &ui);
            runtime.block_on(export).unwrap();
        }),
        ("read and check alone", &|| {
            let read = found.read(&Stop::default(), |_| Ok(()));
            assert_eq!(read.unwrap().size, size);
        }),
        ("files, of the image", &|| {
            files(open_chain(&[Layer::Qcow2(image.clone())]).unwrap());
        }),
        ("files, of its chunks", &|| {
            let chunks = ImageDisk::new(found.clone());
            files(Arc::new(Qcow2::open(chunks, None).unwrap()));
        }),
    ];
    let mut taken = vec![Vec::new(); ways.len()];
    for round in 0..ROUNDS {
        // Each is the first of a round as often as the others: what was removed before can be slower or faster to write again.
        for number in (0..ways.len()).map(|number| (round + number) % ways.len()) {
            let _earlier = fs::remove_file(&to);
            let start = Instant::now();
            ways[number].1();
            taken[number].push(start.elapsed());
        }
    }
    for taken in &mut taken {
        taken.sort();
    }
    let seconds = |number: usize, at: usize| taken[number][at].as_secs_f64();
    for (number, (name, _)) in ways.iter().enumerate() {
        let (best, median) = (seconds(number, 0), seconds(number, ROUNDS / 2));
        println!(
            "{name:20} best {best:6.3} s ({:.2} of dd)  median {median:6.3} s ({:.2} of dd)  {:7.1} MiB/s",
            seconds(0, 0) / best,
            seconds(0, ROUNDS / 2) / median,
            mebibytes(size) / median,
        );
    }
}

/// Reads every file of a disk, as a scan does.
fn files(disk: Arc<dyn BlockRead>) {
    let stop = Stop::default();
    let progress = &|_| {};
    let watch = Monitor {
        stop: &stop,
        progress,
    };
    let source = SourceDisk::open(disk).unwrap();
    let tree = source.tree().unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Contents::read(&tree, source.files(), 4096, threads, watch).unwrap();
}

fn dd(from: &Path, to: &Path) {
    let operands = [("if=", from), ("of=", to)].map(|(name, path)| {
        let mut operand = std::ffi::OsString::from(name);
        operand.push(path);
        operand
    });
    let mut command = Command::new("dd");
    command.args(operands).args(["bs=1M", "conv=fsync"]);
    let status = command.stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
}

/// Bytes of the blocks of all files below a directory.
fn disk_usage(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let entries = entries.map(|entry| entry.unwrap());
    let usage = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        data if data.is_dir() => disk_usage(&entry.path()) + data.blocks() * 512,
        data => data.blocks() * 512,
    };
    entries.map(usage).sum()
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A manifest with an image, and nothing else that matters.
fn manifest(digest: &str, size: u64) -> Manifest {
    let value = serde_json::json!({
        "schema": "karat.manifest/1",
        "inputs": {
            "image": { "name": "bench", "description": "" },
            "template": { "digest": digest, "text": "" },
            "variables": {}, "secrets": {},
            "base": { "kind": "file", "digest": digest, "size": size, "format": "qcow2" },
            "packages": {}, "files": [], "steps": [], "network": { "open": false }, "hermetic": true,
        },
        "outputs": {
            "arch": "x86_64", "firmware": "bios", "packages": [],
            "image": { "format": "qcow2", "digest": digest, "size": size, "virtual_size": size },
        },
    });
    serde_json::from_value(value).unwrap()
}
