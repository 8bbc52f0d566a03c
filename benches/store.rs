//! Figures for images in the store, beside copying the same bytes: `cargo bench --bench store [-- IMAGE...]`.
//!
//! Images are added in their order, so the second one shows what an image costs that has much in common with the first; then the
//! first is exported. Without images it takes the largest blob of the user's store. `dd bs=1M conv=fsync` is what an export is
//! measured by: the disk's speed for one file that is written from its start to its end.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karat::hashing::{self, Stop};
use karat::manifest::Manifest;
use karat::store::Store;
use karat::ui::Ui;

mod support;

use support::{largest, processor_time};

const ROUNDS: usize = 7;

fn main() {
    let images: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .map(PathBuf::from)
        .collect();
    let images = if images.is_empty() {
        vec![largest()]
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
    let digest = hashing::digest(File::open(image).unwrap(), &Stop::default(), |_| {});
    let (digest, size) = digest.unwrap();
    let found = store.image(&digest).unwrap();
    let manifest = manifest(&digest.to_string(), size);
    let ways: [(&str, &dyn Fn()); 3] = [
        ("dd bs=1M conv=fsync", &|| dd(image, &to)),
        ("export", &|| {
            let export = store.export(&manifest, &to, false, &ui);
            runtime.block_on(export).unwrap();
        }),
        ("read and check alone", &|| {
            let read = found.read(&Stop::default(), |_| Ok(()));
            assert_eq!(read.unwrap().size, size);
        }),
    ];
    let mut taken = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for ((_, way), taken) in ways.iter().zip(&mut taken) {
            let _earlier = fs::remove_file(&to);
            let start = Instant::now();
            way();
            taken.push(start.elapsed());
        }
    }
    let median = |taken: &mut Vec<Duration>| {
        taken.sort();
        taken[taken.len() / 2]
    };
    let medians: Vec<_> = taken.iter_mut().map(median).collect();
    for ((name, _), took) in ways.iter().zip(&medians) {
        let (seconds, reference) = (took.as_secs_f64(), medians[0].as_secs_f64());
        println!(
            "{name:22} {seconds:6.3} s  {:7.1} MiB/s  {:5.2} of dd",
            mebibytes(size) / seconds,
            reference / seconds
        );
    }
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
