//! Images in chunks: what comes out is what went in, and damage is named.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use karat::digest::Digest;
use karat::disk::read::{BlockRead as _, ReadError};
use karat::os::hash_stream::Stop;
use karat::record::manifest::ManifestId;
use karat::store::{Fault, ImageDisk, Store, StoreError};
use karat::ui::Ui;

use super::{manifest, put};

/// Bytes without any order, the same for a seed each time.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A store beside an exported image.
struct Images {
    scratch: tempfile::TempDir,
    store: Store,
}

impl Images {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::new(scratch.path().join("store"));
        Self { scratch, store }
    }

    fn put(&self, image: &[u8]) -> ManifestId {
        put(&self.store, self.scratch.path(), "web", image)
    }

    /// Exports the image; nothing may be left of an export that fails.
    fn export(&self, id: ManifestId) -> Result<Vec<u8>, StoreError> {
        let target = self.scratch.path().join("exported");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let stored = self.store.manifest(id).unwrap().manifest;
        let ui = Ui::default();
        let export = self.store.export(&stored, &target, false, &ui);
        let exported = runtime.block_on(export);
        assert_eq!(exported.is_ok(), target.exists());
        assert_eq!(exported.as_ref().map_or(1, |_| 2), self.names().len());
        exported.map(|_| {
            let bytes = fs::read(&target).unwrap();
            fs::remove_file(&target).unwrap();
            bytes
        })
    }

    fn names(&self) -> Vec<PathBuf> {
        files(self.scratch.path())
    }

    fn blobs(&self) -> Vec<PathBuf> {
        files(&self.store.root().join("blobs/sha256"))
    }

    fn recipe(&self, image: &[u8]) -> PathBuf {
        let directory = self.store.root().join("images");
        let recipes = files(&directory.join(Digest::of(image).hex()));
        assert_eq!(recipes.len(), 1, "{recipes:?}");
        recipes[0].clone()
    }

    /// What `verify` finds wrong with an image, and with the store.
    fn faults(&self, id: ManifestId) -> [Vec<Fault>; 2] {
        let stop = Stop::default();
        [
            self.store.check_one(id, &stop, &|_| {}).unwrap().faults,
            self.store.check_all(&stop, &|_| {}).unwrap().faults,
        ]
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Changes a byte in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_kind_of_image_comes_out_as_it_went_in() {
    let text: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    let sparse = [&noise(1, 100_000), &vec![0; 5 << 20][..], b"end"].concat();
    let edges = [&vec![0; 1 << 20][..], &noise(2, 300_000), &vec![0; 1 << 20]].concat();
    for (name, image) in [
        ("empty", Vec::new()),
        ("one byte", vec![7]),
        ("zeros", vec![0; 3_000_001]),
        ("noise", noise(3, 2_000_003)),
        ("text", text),
        ("sparse", sparse),
        ("zeros at both ends", edges),
        ("one chunk that is packed", vec![7; 10_000]),
    ] {
        let site = Images::new();
        let id = site.put(&image);
        assert!(site.export(id).unwrap() == image, "{name}");
        for faults in site.faults(id) {
            assert!(faults.is_empty(), "{name}: {faults:?}");
        }
        let found = site.store.image(&Digest::of(&image)).unwrap();
        assert_eq!(found.size(), image.len() as u64, "{name}");
        let disk = ImageDisk::new(found);
        for (offset, length) in [(0, 1), (65_000, 200_000), (1 << 20, 3), (2_000_000, 3)] {
            let mut read = vec![0; length];
            let done = disk.read_at(offset as u64, &mut read);
            match image.get(offset..offset + length) {
                Some(expected) => assert!(done.is_ok() && read == expected, "{name} {offset}"),
                None => assert!(matches!(done, Err(ReadError::Outside { .. })), "{name}"),
            }
        }
        // Once more, and all of it is there.
        let before = site.blobs();
        assert_eq!(site.put(&image), id);
        assert_eq!(site.blobs(), before, "{name}");
    }
}

#[test]
fn what_two_images_have_in_common_is_stored_once() {
    let site = Images::new();
    let first = noise(1, 8 << 20);
    let mut second = first.clone();
    second.splice(3_000_000..3_000_000, *b"something that moves all behind it");
    site.put(&first);
    let before = site.blobs().len();
    let id = site.put(&second);
    let more = site.blobs().len() - before;
    assert!(more <= 4, "{more} of {before} chunks are new");
    assert!(site.export(id).unwrap() == second);
}

#[test]
fn zeros_take_no_room_in_the_store_and_none_in_an_export() {
    let site = Images::new();
    let image = [vec![0; 64 << 20], noise(1, 1000), vec![0; 64 << 20]].concat();
    let id = site.put(&image);
    let usage = site
        .blobs()
        .into_iter()
        .map(|it| it.metadata().unwrap().blocks());
    assert!(usage.sum::<u64>() * 512 < 1 << 20);
    let target = site.scratch.path().join("sparse");
    let stored = site.store.manifest(id).unwrap().manifest;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ui = Ui::default();
    let export = site.store.export(&stored, &target, false, &ui);
    runtime.block_on(export).unwrap();
    assert!(fs::metadata(&target).unwrap().blocks() * 512 < 2 << 20);
    assert!(fs::read(&target).unwrap() == image);
}

#[test]
fn damage_is_named_and_a_new_build_mends_it() {
    let plain = noise(1, 1_000_000);
    let packed: Vec<u8> = (0..300_000_u32)
        .flat_map(|number| number.wrapping_mul(number).to_le_bytes())
        .collect();
    for image in [plain, packed] {
        let site = Images::new();
        let id = site.put(&image);
        let chunk = &site.blobs()[2];
        let text = chunk.display().to_string();
        for (how, spoil) in [
            ("flipped", flip as fn(&Path)),
            ("cut off", |path| {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(100).unwrap();
            }),
            ("grown", |path| {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(1 << 40).unwrap();
            }),
            ("gone", |path| fs::remove_file(path).unwrap()),
        ] {
            spoil(chunk);
            let error = site.export(id).unwrap_err();
            assert!(error.to_string().contains(&text), "{how}: {error}");
            assert!(
                error.to_string().contains(&Digest::of(&image).to_string()),
                "{how}: {error}"
            );
            assert_eq!(error.exit_code(), 4, "{how}");
            if how != "grown" {
                for faults in site.faults(id) {
                    assert_eq!(faults.len(), 1, "{how}: {faults:?}");
                    assert!(faults[0].to_string().contains(&text), "{how}");
                }
            }
            site.put(&image);
            assert!(site.export(id).unwrap() == image, "{how}");
            assert!(site.faults(id).iter().all(Vec::is_empty), "{how}");
        }
    }
}

#[test]
fn a_recipe_that_was_changed_is_refused_and_written_again() {
    let site = Images::new();
    let (image, other) = (noise(1, 500_000), noise(2, 500_000));
    let (id, _) = (site.put(&image), site.put(&other));
    let recipe = site.recipe(&image);
    let sound = fs::read(&recipe).unwrap();
    flip(&recipe);
    let error = site.export(id).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(
        error.to_string().contains(recipe.to_str().unwrap()),
        "{error}"
    );
    assert!(site.faults(id).iter().all(|faults| !faults.is_empty()));
    site.put(&image);
    assert_eq!(fs::read(&recipe).unwrap(), sound);
    // The recipe of another image passes for none of this one.
    let moved = recipe.with_file_name(site.recipe(&other).file_name().unwrap());
    fs::rename(site.recipe(&other), &moved).unwrap();
    fs::remove_file(&recipe).unwrap();
    let error = site.export(id).unwrap_err();
    assert!(
        error.to_string().contains(moved.to_str().unwrap()),
        "{error}"
    );
    // It is not in the way of a sound one.
    site.put(&image);
    assert!(site.export(id).unwrap() == image);
}

#[test]
fn an_image_that_an_older_version_stored_whole_is_used_as_it_is() {
    let site = Images::new();
    let image = noise(1, 500_000);
    let id = site.put(&image);
    let digest = Digest::of(&image);
    // As it was then.
    fs::remove_dir_all(site.store.root().join("images")).unwrap();
    site.blobs()
        .iter()
        .for_each(|blob| fs::remove_file(blob).unwrap());
    assert!(matches!(site.export(id), Err(StoreError::NoImage(_))));
    let whole = site.store.blob(&digest);
    fs::write(&whole, &image).unwrap();
    assert!(site.export(id).unwrap() == image);
    assert!(site.faults(id).iter().all(Vec::is_empty));
    site.put(&image);
    assert_eq!(site.blobs(), std::slice::from_ref(&whole));
    // One that rots is replaced by chunks.
    flip(&whole);
    assert_eq!(site.export(id).unwrap_err().exit_code(), 4);
    assert!(site.faults(id).iter().all(|faults| faults.len() == 1));
    site.put(&image);
    assert!(!whole.exists());
    assert!(site.export(id).unwrap() == image);
    assert!(site.faults(id).iter().all(Vec::is_empty));
}

#[test]
fn a_manifest_that_lies_about_the_size_is_found_out() {
    let site = Images::new();
    let image = noise(1, 500_000);
    let id = site.put(&image);
    let mut lie = manifest("web", &image);
    lie.outputs.image.size += 1;
    let bytes = lie.to_bytes().unwrap();
    let lying = ManifestId::of(&bytes);
    fs::write(
        site.store.root().join(format!("manifests/{lying}.json")),
        bytes,
    )
    .unwrap();
    assert!(
        site.faults(lying)[0]
            .iter()
            .any(|fault| matches!(fault, Fault::Size { .. }))
    );
    assert!(site.faults(id)[0].is_empty());
}

/// A disk with a file system that can be scanned, and something in it that a scan finds.
fn system(scratch: &Path) -> PathBuf {
    let root = scratch.join("root");
    for name in ["etc", "usr/bin", "var/lib/dpkg/info"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=12\n").unwrap();
    let status = "Package: base\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n";
    fs::write(root.join("var/lib/dpkg/status"), status).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/shadow"), "root::19000:0:99999:7:::\n").unwrap();
    fs::write(root.join("var/lib/dpkg/info/base.list"), "/etc\n").unwrap();
    fs::write(root.join("usr/bin/program"), noise(1, 500_000)).unwrap();
    let raw = scratch.join("disk.raw");
    fs::File::create(&raw).unwrap().set_len(32 << 20).unwrap();
    let mut command = std::process::Command::new("/sbin/mke2fs");
    command.args(["-q", "-t", "ext4", "-d"]).args([&root, &raw]);
    assert!(command.status().unwrap().success());
    raw
}

#[test]
fn an_image_in_chunks_is_scanned_like_a_file() {
    let site = super::cli::Site::new();
    let raw = system(site.path());
    for format in ["raw", "qcow2", "vmdk"] {
        let file = site.path().join("image");
        let mut command = std::process::Command::new("qemu-img");
        command.args(["convert", "-f", "raw", "-O", format]);
        assert!(command.args([&raw, &file]).status().unwrap().success());
        let image = fs::read(&file).unwrap();
        let mut manifest = manifest("web", &image);
        manifest.outputs.image.format = format.to_owned();
        let id = super::put_as(&site.store, site.path(), &manifest, &image);
        let temporary = site.path().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let scan = |what: &str| {
            let without = ["vulnerabilities", "undeclared"].map(|check| ["--without", check]);
            let mut command = site.command(&["scan", "--json", what]);
            command.args(without.concat()).env("TMPDIR", &temporary);
            let path = std::env::var_os("PATH").unwrap();
            let output = command.env("PATH", path).output().unwrap();
            assert_eq!(files(&temporary), Vec::<PathBuf>::new(), "{format}");
            output
        };
        let [stored, file] = [id.short().as_str(), "image"].map(|what| {
            let scanned = scan(what);
            let report: Result<serde_json::Value, _> = serde_json::from_slice(&scanned.stdout);
            let report = report.unwrap_or_else(|_| panic!("{format}: {scanned:?}"));
            assert!(!report["findings"].as_array().unwrap().is_empty());
            (scanned.status.code(), report["findings"].clone())
        });
        assert_eq!(stored, file, "{format}");
        // What cannot be read is said with the name of the chunk.
        let blobs = files(&site.store.root().join("blobs/sha256"));
        for blob in &blobs {
            flip(blob);
        }
        let said = scan(&id.short());
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(
            !said.status.success() && text.contains("blobs/sha256/"),
            "{text}"
        );
        for blob in &blobs {
            fs::remove_file(blob).unwrap();
        }
    }
}
