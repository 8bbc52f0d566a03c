//! Stores that are written, damaged and read.

use std::fs;

use super::layout::entries;
use super::*;
use crate::os::atomic_file::UNFINISHED;
use crate::record::canonical;
use crate::record::manifest::ManifestId;
use crate::record::manifest::tests::example;
use crate::scan;
use crate::ui::Ui;

fn run() -> Run {
    Run {
        started: "2026-01-31T23:50:00Z".parse().unwrap(),
        finished: "2026-01-31T23:59:59Z".parse().unwrap(),
        phases: [("provision".to_owned(), 1234)].into(),
        accelerator: "tcg".to_owned(),
    }
}

/// Writes an image to directory `from`, then moves it into the store.
async fn put(store: &Store, from: &Path, image: &[u8]) -> ManifestId {
    let path = from.join(Digest::of(image).hex());
    fs::write(&path, image).unwrap();
    let writing = store.begin().await.unwrap();
    let blob = writing.add_image(&path, &Ui::default()).await.unwrap();
    assert_eq!(blob.digest, Digest::of(image));
    assert!(!path.exists());
    writing
        .commit(&example("web", "text", image), run())
        .unwrap()
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn only_file(directory: &Path) -> PathBuf {
    let paths = entries(directory).unwrap();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths[0].clone()
}

#[tokio::test]
async fn a_stored_image_is_read_back() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::new(scratch.path().join("store"));
    assert!(store.ids().unwrap().is_empty());
    let id = put(&store, scratch.path(), b"image").await;
    // The same image again: nothing is stored twice.
    assert_eq!(put(&store, scratch.path(), b"image").await, id);
    assert_eq!(store.ids().unwrap(), [id]);
    let stored = store.manifest(id).unwrap();
    assert_eq!(stored.manifest, example("web", "text", b"image"));
    let records = store.records_of(id).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].manifest, id);
    only_file(&store.blobs());
    assert_eq!(store.resolve(&id.to_string()[..8]).unwrap(), id);
    assert_eq!(store.resolve("00000000").unwrap_err().exit_code(), 2);
    assert_eq!(store.resolve("latest").unwrap_err().exit_code(), 2);
}

#[tokio::test]
async fn the_last_scan_of_one_second_is_the_last() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::new(scratch.path().join("store"));
    let id = put(&store, scratch.path(), b"image").await;
    let about = scan::report::sbom::Subject {
        name: "web".to_owned(),
        digest: None,
        created: "2026-01-31T23:59:59Z".parse().unwrap(),
    };
    let writing = store.begin().await.unwrap();
    for packages in 1..=8 {
        let report = scan::report::Report {
            subject: scan::report::Subject::default(),
            checks: Vec::new(),
            left_out: Vec::new(),
            database: None,
            packages,
            findings: Vec::new(),
        };
        let contents = scan::run::Contents::default();
        writing.add_scan(id, &about, &contents, &report).unwrap();
    }
    let scans = store.scans_of(id).unwrap();
    let order = scans
        .iter()
        .map(|scan| (scan.number, scan.report.counts.packages));
    assert!(order.eq((1..=8).map(|number| (number, usize::try_from(number).unwrap()))));
    // A record of an older version has no number, and comes first.
    let directory = store.scans().join(id.to_string());
    let text = fs::read_to_string(&entries(&directory).unwrap()[0]).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record.as_object_mut().unwrap().remove("number").unwrap();
    let bytes = canonical::to_bytes(&record).unwrap();
    let name = format!("{}.json", Digest::of(&bytes).hex());
    fs::write(directory.join(name), &bytes).unwrap();
    let numbers = store.scans_of(id).unwrap().into_iter();
    assert!(numbers.map(|scan| scan.number).eq(0..=8));
}

#[tokio::test]
async fn an_image_from_another_file_system_is_copied() {
    let scratch = tempfile::tempdir().unwrap();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: no second file system at /dev/shm");
        return;
    };
    let store = Store::new(scratch.path().join("store"));
    let id = put(&store, memory.path(), b"image").await;
    assert!(store.manifest(id).is_ok());
    only_file(&store.blobs());
}

#[tokio::test]
async fn a_manifest_without_its_image_is_not_recorded() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::new(scratch.path());
    let writing = store.begin().await.unwrap();
    let error = writing
        .commit(&example("web", "text", b"image"), run())
        .unwrap_err();
    assert!(matches!(error, StoreError::NoImage(_)));
    assert!(store.ids().unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_was_changed_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::new(scratch.path().join("store"));
    let id = put(&store, scratch.path(), b"image").await;
    let other = put(&store, scratch.path(), b"other image").await;
    let records = |id: ManifestId| store.records().join(id.to_string());

    let record = only_file(&records(id));
    let sound = fs::read(&record).unwrap();
    let text = String::from_utf8(sound.clone()).unwrap();
    replace(&record, text.replace("tcg", "kvm").as_bytes());
    assert_eq!(store.records_of(id).unwrap_err().exit_code(), 4);
    replace(&record, &sound);
    // A valid record of another manifest is refused.
    let moved = records(other).join(record.file_name().unwrap());
    fs::rename(&record, moved).unwrap();
    assert_eq!(store.records_of(other).unwrap_err().exit_code(), 4);

    let manifest = store.manifest_path(&id);
    replace(&manifest, &fs::read(store.manifest_path(&other)).unwrap());
    let error = store.manifest(id).unwrap_err();
    assert!(error.to_string().contains("was changed"), "{error}");
    assert_eq!(error.exit_code(), 4);

    let target = scratch.path().join("exported");
    let sound = store.manifest(other).unwrap().manifest;
    replace(&store.blob(&Digest::of(b"other image")), b"rotten image");
    let ui = Ui::default();
    let error = store.export(&sound, &target, false, &ui).await.unwrap_err();
    assert_eq!((error.exit_code(), target.exists()), (4, false));
    // Another build repairs the image.
    put(&store, scratch.path(), b"other image").await;
    store.export(&sound, &target, false, &ui).await.unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"other image");
}

#[tokio::test]
async fn an_ambiguous_prefix_lists_the_matches() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::new(scratch.path());
    fs::create_dir_all(store.manifests()).unwrap();
    let ids = ["0", "1"].map(|end| format!("{}{end}", "a".repeat(63)));
    for id in &ids {
        fs::write(store.manifests().join(format!("{id}.json")), "").unwrap();
    }
    let error = store.resolve("aaaaaaaa").unwrap_err();
    assert!(
        ids.iter().all(|id| error.to_string().contains(id)),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
    assert_eq!(store.resolve(&ids[1]).unwrap().to_string(), ids[1]);
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_by_the_next_exclusive_writer() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::new(scratch.path());
    let first = store.begin().await.unwrap();
    let left = store.blobs().join(format!("{UNFINISHED}abc"));
    fs::write(&left, "half").unwrap();
    let second = store.begin().await.unwrap();
    assert!(left.exists(), "another writer may be using it");
    drop((first, second));
    drop(store.begin().await.unwrap());
    assert!(!left.exists());
}
