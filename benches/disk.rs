//! Figures for reading a disk offline, beside the kernel's mount of the same bytes: `cargo bench --bench disk [-- IMAGE.qcow2]`, as root.
//!
//! Without an image it takes that of the scan bench. All is read from the page cache: it is the work that is measured.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use karat::digest::Digest;
use karat::disk::read::ext4::Ext4;
use karat::disk::read::qcow2::{Layer, open_chain};
use karat::disk::read::{FileSystem, FileType, Inode, ReadError, Slice, walk};
use rustix::fs::{AtFlags, CWD, StatxFlags, lgetxattr, llistxattr, statx};
use sha2::{Digest as _, Sha256};

#[path = "support/partition.rs"]
mod partition;
mod support;

use partition::root;
use support::{diverse_qcow2, processor_time};

const ROUNDS: usize = 5;
/// Both sides read this much at once.
const PIECE: usize = 1 << 20;

fn main() {
    let image = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .map_or_else(diverse_qcow2, PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let raw = scratch.path().join("disk.raw");
    run(
        "qemu-img",
        &[
            "convert",
            "-O",
            "raw",
            image.to_str().unwrap(),
            raw.to_str().unwrap(),
        ],
    );
    let disk = open_chain(&[Layer::Raw(raw.clone())]).unwrap();
    let (offset, length) = root(&disk);
    let mount = scratch.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let options = format!("loop,ro,noatime,offset={offset},sizelimit={length}");
    run(
        "mount",
        &[
            "-o",
            &options,
            raw.to_str().unwrap(),
            mount.to_str().unwrap(),
        ],
    );

    let open = |layer: Layer| -> Arc<dyn FileSystem> {
        let disk = open_chain(&[layer]).unwrap();
        Arc::new(Ext4::open(Arc::new(Slice::new(disk, offset, length).unwrap())).unwrap())
    };
    let raw_disk = || open(Layer::Raw(raw.clone()));
    let qcow2 = || open(Layer::Qcow2(image.clone()));
    let (paths, bytes) = size(&*raw_disk());
    println!("{paths} paths, {} MB of files\n", bytes / 1_000_000);
    for threads in [1, 2] {
        let mut digests = Vec::new();
        // Interleaved, so that what else the machine does hits all alike.
        let mut best = [(Duration::MAX, Duration::MAX); 3];
        for _ in 0..ROUNDS {
            let works: [&dyn Fn() -> Digest; 3] = [
                &|| kernels(&mount, threads),
                &|| ours(&*raw_disk(), threads),
                &|| ours(&*qcow2(), threads),
            ];
            for (best, work) in best.iter_mut().zip(works) {
                let (began, used) = (Instant::now(), processor_time());
                digests.push(work());
                let (time, used) = (began.elapsed(), processor_time().saturating_sub(used));
                *best = (best.0.min(time), best.1.min(used));
            }
        }
        assert!(
            digests.windows(2).all(|pair| pair[0] == pair[1]),
            "not the same files"
        );
        println!("{threads} thread(s), walk and SHA-256, best of {ROUNDS}:");
        for (name, (time, used)) in ["kernel, loop mount", "karat, raw", "karat, zstd qcow2"]
            .into_iter()
            .zip(best)
        {
            let [time, used, kernels] = [time, used, best[0].0].map(|time| time.as_secs_f64());
            println!(
                "  {name:20}{time:.3} s  {:.2} of the kernel's  {used:.2} s of processors",
                time / kernels
            );
        }
    }
    run("umount", &[mount.to_str().unwrap()]);
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status
            .unwrap_or_else(|error| panic!("{program}: {error}"))
            .success(),
        "{program} {arguments:?}"
    );
}

fn size(file_system: &dyn FileSystem) -> (usize, u64) {
    let (mut paths, mut bytes) = (0, 0);
    walk(file_system, |_, _, metadata| {
        paths += 1;
        bytes += if metadata.kind == FileType::File {
            metadata.size
        } else {
            0
        };
        Ok::<_, ReadError>(())
    })
    .unwrap();
    (paths, bytes)
}

/// Files by what `hash` needs to know of them, hashed by several threads; what comes out does not depend on how many.
fn hash_all<T: Sync>(
    mut files: Vec<(Vec<u8>, T)>,
    threads: usize,
    hash: impl Fn(&T, &mut [u8]) -> Digest + Sync,
) -> Digest {
    files.sort_by(|a, b| a.0.cmp(&b.0));
    let next = AtomicUsize::new(0);
    let mut digests: Vec<(usize, Digest)> = std::thread::scope(|scope| {
        let work = || {
            let mut buffer = vec![0; PIECE];
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((_, file)) = files.get(index) else {
                    return done;
                };
                done.push((index, hash(file, &mut buffer)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    digests.sort_by_key(|(index, _)| *index);
    let mut all = Sha256::new();
    for ((path, _), (_, digest)) in files.iter().zip(&digests) {
        all.update(path);
        all.update(digest.hex());
    }
    Digest::from_hasher(all)
}

fn ours(file_system: &dyn FileSystem, threads: usize) -> Digest {
    let mut files: Vec<(Vec<u8>, Inode)> = Vec::new();
    walk(file_system, |path, inode, metadata| {
        std::hint::black_box(file_system.xattrs(inode)?);
        match metadata.kind {
            FileType::File => files.push((path.to_vec(), inode)),
            FileType::Link => drop(std::hint::black_box(file_system.read_link(inode)?)),
            _ => {}
        }
        Ok::<_, ReadError>(())
    })
    .unwrap();
    hash_all(files, threads, |inode, buffer| {
        let mut hasher = Sha256::new();
        let mut at = 0;
        loop {
            let length = file_system.read_at(*inode, at, buffer).unwrap();
            hasher.update(&buffer[..length]);
            at += length as u64;
            if length < buffer.len() {
                return Digest::from_hasher(hasher);
            }
        }
    })
}

fn kernels(root: &Path, threads: usize) -> Digest {
    let mut files = Vec::new();
    let mut todo = vec![root.to_owned()];
    let (mut names, mut value) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    while let Some(path) = todo.pop() {
        let stat = statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::ALL).unwrap();
        let length = llistxattr(&path, &mut names[..]).unwrap();
        for name in names[..length]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            lgetxattr(&path, name, &mut value[..]).unwrap();
        }
        match FileType::from_mode(stat.stx_mode).unwrap() {
            FileType::Directory => todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            ),
            FileType::File => {
                let relative = path
                    .strip_prefix(root)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec();
                files.push((relative, path));
            }
            FileType::Link => drop(std::hint::black_box(fs::read_link(&path).unwrap())),
            _ => {}
        }
    }
    hash_all(files, threads, |path, buffer| {
        let mut file = File::open(path).unwrap();
        let mut hasher = Sha256::new();
        loop {
            match file.read(buffer).unwrap() {
                0 => return Digest::from_hasher(hasher),
                length => hasher.update(&buffer[..length]),
            }
        }
    })
}
