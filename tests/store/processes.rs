//! Several processes at one store and one cache, and processes that are killed while they write.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use karat::digest::Digest;
use karat::fetch::Cache;
use karat::os::hash_stream::Stop;
use karat::plan::Checksum;
use karat::store::Store;
use karat::ui::Ui;

use super::chunks::noise;

/// Writers of the test of DESIGN's "24 builds finishing together".
const TOGETHER: u32 = 24;

/// Kills; each at another moment of the first 120 ms of writing.
const KILLS: u32 = 30;

/// Runs [`child`] in a process of its own.
fn start(work: &str, root: &Path, scratch: &Path, seed: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--nocapture"])
        .env("STORE_TEST_WORK", work)
        .env("STORE_TEST_ROOT", root)
        .env("STORE_TEST_SCRATCH", scratch)
        .env("STORE_TEST_SEED", seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child process does. Run as a test by itself it stores one image.
#[test]
fn child() {
    let variable = |name: &str| std::env::var(format!("STORE_TEST_{name}")).ok();
    let own = tempfile::tempdir().unwrap();
    let root = variable("ROOT").map_or_else(|| own.path().join("store"), PathBuf::from);
    let scratch = variable("SCRATCH").map_or_else(|| own.path().to_owned(), PathBuf::from);
    let seed: u32 = variable("SEED").map_or(0, |seed| seed.parse().unwrap());
    match variable("WORK").as_deref() {
        None | Some("put") => {
            let store = Store::new(root);
            super::put(&store, &scratch, "web", &image(seed, 0));
            assert!(check(&store) > 0);
        }
        Some("put for ever") => {
            for count in 0.. {
                super::put(&Store::new(&root), &scratch, "web", &image(seed, count));
            }
        }
        Some(url) => fetch(&root, url),
    }
}

/// An image of some chunks, half of which all of them have.
fn image(seed: u32, count: u32) -> Vec<u8> {
    let own = u64::from(seed) << 32 | u64::from(count);
    [noise(0, 300_000), noise(own + 1, 300_000)].concat()
}

/// Reads all that is in the store; fails if a final name is not what it says. Returns the number of manifests.
fn check(store: &Store) -> usize {
    let ids = store.ids().unwrap();
    for id in &ids {
        let stored = store.manifest(*id).unwrap();
        assert!(!store.records_of(*id).unwrap().is_empty(), "{id}");
        let image = stored.manifest.outputs.image;
        let found = store.image(&image.digest).unwrap();
        let read = found.read(&Stop::default(), |_| Ok(())).unwrap();
        assert_eq!((read.digest, read.size), (image.digest, image.size));
    }
    for name in names(&store.root().join("blobs/sha256")) {
        if !name.starts_with('.') {
            let path = store.root().join("blobs/sha256").join(&name);
            assert_eq!(Digest::of(&fs::read(path).unwrap()).hex(), name);
        }
    }
    ids.len()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn builds_that_finish_together_are_all_recorded() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let children: Vec<_> = (0..TOGETHER)
        .map(|seed| start("put", &root, scratch.path(), seed))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::new(&root);
    assert_eq!(check(&store), TOGETHER as usize);
    assert_eq!(names(&root.join("images")).len(), TOGETHER as usize);
}

#[test]
fn the_same_image_from_several_processes_is_stored_once() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let own = |number: u32| {
        let own = scratch.path().join(number.to_string());
        fs::create_dir(&own).unwrap();
        own
    };
    let children: Vec<_> = (0..6)
        .map(|number| start("put", &root, &own(number), 7))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::new(&root);
    assert_eq!(check(&store), 1);
    let alone = Store::new(scratch.path().join("alone"));
    super::put(&alone, scratch.path(), "web", &image(7, 0));
    for directory in ["blobs/sha256", "images"] {
        let [several, one] = [&store, &alone].map(|store| names(&store.root().join(directory)));
        assert_eq!(several, one, "{directory}");
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_valid_store() {
    let scratch = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir_in("/dev/shm");
    let root = scratch.path().join("store");
    let store = Store::new(&root);
    for kill in 0..KILLS {
        // Every second writer must copy, because its images are in another file system.
        let from = match &memory {
            Ok(memory) if kill % 2 == 1 => memory.path(),
            _ => scratch.path(),
        };
        let mut child = start("put for ever", &root, from, kill);
        // Once it has written something, at a moment that is another one each time.
        let before = store.ids().unwrap().len();
        while store.ids().unwrap().len() == before {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(
            u64::from(kill * 7919 % 120) * 1000 + 137,
        ));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(check(&store) > before);
        let checked = store.check_all(&Stop::default(), &|_| {}).unwrap();
        assert!(checked.faults.is_empty(), "{:?}", checked.faults);
    }
    // The next writer clears up.
    let mut child = start("put", &root, scratch.path(), KILLS);
    assert!(child.wait().unwrap().success());
    let images = names(&root.join("images")).into_iter();
    let images = images.map(|image| format!("images/{image}"));
    for directory in images.chain(["blobs/sha256", "manifests"].map(str::to_owned)) {
        let mut names = names(&root.join(&directory)).into_iter();
        assert!(names.all(|name| !name.starts_with('.')), "{directory}");
    }
}

fn fetch(root: &Path, url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cache = Cache::new(root);
    let checksum = Checksum::Sha256(Digest::of(&image(0, 0)));
    let ui = Ui::default();
    let (path, digest) = runtime.block_on(cache.fetch(url, &checksum, &ui)).unwrap();
    assert_eq!(Digest::of(&fs::read(path).unwrap()), digest);
}

#[test]
fn processes_that_share_a_cache_download_once() {
    let scratch = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/disk.img", listener.local_addr().unwrap());
    let children: Vec<_> = (0..4)
        .map(|seed| start(&url, scratch.path(), scratch.path(), seed))
        .collect();
    // One request is served, slowly; a second one would wait for ever and fail the test by its time limit.
    let (mut line, _) = listener.accept().unwrap();
    let mut request = BufReader::new(line.try_clone().unwrap()).lines();
    while !request.next().unwrap().unwrap().is_empty() {}
    let body = image(0, 0);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    line.write_all(head.as_bytes()).unwrap();
    for part in body.chunks(50_000) {
        std::thread::sleep(Duration::from_millis(50));
        line.write_all(part).unwrap();
    }
    drop(listener);
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let expected = Digest::of(&body).hex();
    assert_eq!(
        names(&scratch.path().join("sha256")),
        BTreeSet::from([expected])
    );
}
