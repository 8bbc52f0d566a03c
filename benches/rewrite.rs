//! Figures for writing a guest's disk anew, beside `qemu-img convert` with `sha256sum`: `cargo bench --bench rewrite [-- IMAGE.qcow2]`.
//!
//! Without an image it takes the largest of the user's store. All is read from the page cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use karat::disk::read::qcow2::{Layer, open_chain};
use karat::disk::rewrite::{Container, Source, read_back};
use karat::disk::tree::Watch;
use karat::hashing::Stop;

const ROUNDS: usize = 5;

/// What one way took, and how large what it made is.
struct Figures {
    wall: Duration,
    size: u64,
}

fn main() {
    let image = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .map_or_else(largest, PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let (theirs, ours) = (
        scratch.path().join("theirs.qcow2"),
        scratch.path().join("ours.qcow2"),
    );
    let mut best: [Option<Figures>; 3] = [None, None, None];
    for _ in 0..ROUNDS {
        let rounds = [
            convert(&image, &theirs),
            rewrite(&image, &ours, false),
            rewrite(&image, &ours, true),
        ];
        for (best, figures) in best.iter_mut().zip(rounds) {
            if best.as_ref().is_none_or(|best| figures.wall < best.wall) {
                *best = Some(figures);
            }
        }
    }
    let best = best.map(Option::unwrap);
    for (name, figures) in [
        "qemu-img convert + sha256sum",
        "rewrite",
        "rewrite + read back",
    ]
    .into_iter()
    .zip(&best)
    {
        println!(
            "{name:30} {:6.2} s  {:5.2} of qemu-img  {:6.1} MiB",
            figures.wall.as_secs_f64(),
            figures.wall.as_secs_f64() / best[0].wall.as_secs_f64(),
            mebibytes(figures.size),
        );
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    println!("memory of karat at most: {}", peak.unwrap_or_default());
}

fn convert(image: &Path, to: &Path) -> Figures {
    let start = Instant::now();
    run(Command::new("qemu-img")
        .args([
            "convert",
            "-c",
            "-o",
            "compression_type=zstd",
            "-W",
            "-m",
            "16",
            "-O",
            "qcow2",
        ])
        .args([image, to]));
    run(Command::new("sha256sum").arg(to));
    done(start, to)
}

fn rewrite(image: &Path, to: &Path, check: bool) -> Figures {
    let stop = Stop::default();
    let watch = Watch {
        stop: &stop,
        progress: &|_| {},
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let start = Instant::now();
    let disk = open_chain(&[Layer::Qcow2(image.to_owned())]).unwrap();
    let size = disk.len();
    let source = Source::open(disk).unwrap();
    let tree = source.tree().unwrap();
    let file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(to)
        .unwrap();
    let written = source
        .write(&tree, size, (Container::Qcow2, &file, to), threads, watch)
        .unwrap();
    if check {
        let again = open_chain(&[Layer::Qcow2(to.to_owned())]).unwrap();
        read_back(again, &written.listing, threads, watch).unwrap();
    }
    done(start, to)
}

fn done(start: Instant, to: &Path) -> Figures {
    Figures {
        wall: start.elapsed(),
        size: to.metadata().unwrap().len(),
    }
}

fn run(command: &mut Command) {
    assert!(command.output().unwrap().status.success(), "{command:?}");
}

#[expect(clippy::cast_precision_loss, reason = "a size to read")]
fn mebibytes(size: u64) -> f64 {
    size as f64 / f64::from(1 << 20)
}

fn largest() -> PathBuf {
    let home = std::env::var("HOME").unwrap();
    let blobs = Path::new(&home).join(".local/share/karat/blobs/sha256");
    let blobs = fs::read_dir(blobs).expect("an image as argument, or a store with one");
    blobs
        .map(|blob| blob.unwrap().path())
        .max_by_key(|blob| blob.metadata().unwrap().len())
        .unwrap()
}
