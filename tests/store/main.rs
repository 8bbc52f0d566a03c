//! The store as a whole: the real binary that reads it, and real processes that write it, some of them killed.

mod audit;
mod channels;
mod chunks;
mod cli;
mod completions;
mod crash;
mod diff;
mod examples;
mod formats;
mod names;
mod processes;
mod pruned;
mod removed;
mod revoked;
mod schema;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod trust;
mod why;

use std::path::Path;

use karat::digest::Digest;
use karat::record::manifest::{Manifest, ManifestId};
use karat::store::{BuildRun, Store};
use karat::ui::Ui;
use serde_json::json;

/// A manifest of an image with these bytes.
fn manifest(name: &str, image: &[u8]) -> Manifest {
    let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
    let step = |name: &str, action: serde_json::Value| json!({ "name": name, "action": action });
    let shell = json!({ "shell": {
        "script": digest(b"true\n"), "environment": {}, "user": "root", "exit_codes": [0],
    } });
    let package = |name: &str, origin: &str| json!({ "name": name, "version": "1.0-1", "arch": "amd64", "origin": origin });
    let value = json!({
        "schema": "karat.manifest/1",
        "inputs": {
            "image": { "name": name, "description": "nginx on \u{1b}[31mDebian" },
            "template": { "digest": digest(b"template"), "text": "template" },
            "variables": { "workers": "auto" },
            "secrets": { "token": "env" },
            "base": {
                "kind": "bootstrap", "digest": digest(b"base"), "size": 419_430_400, "format": "qcow2",
                "distribution": "debian", "suite": "bookworm",
            },
            "packages": { "apt": { "install": ["nginx-light"], "remove": [], "recommends": false } },
            "files": [{
                "destination": "/etc/motd", "digest": digest(b"hello\n"), "mode": "0644", "owner": "root:root",
            }],
            "steps": [step("harden sshd", shell), step("restart", json!({ "reboot": {} }))],
            "network": { "open": true },
            "hermetic": false,
        },
        "outputs": {
            "arch": "x86_64",
            "firmware": "bios",
            "image": {
                "format": "qcow2", "digest": digest(image), "size": image.len(), "virtual_size": 4_294_967_296_u64,
            },
            "packages": [
                package("libc6", "base"), package("nginx-common", "dependency"), package("nginx-light", "declared"),
            ],
        },
    });
    serde_json::from_value(value).unwrap()
}

/// Stores an image; it is made in directory `scratch`.
fn put(store: &Store, scratch: &Path, name: &str, image: &[u8]) -> ManifestId {
    put_as(store, scratch, &manifest(name, image), image)
}

/// The same, built on another one.
fn put_on(store: &Store, scratch: &Path, name: &str, image: &[u8], base: &[u8]) -> ManifestId {
    let mut manifest = manifest(name, image);
    manifest.inputs.base.digest = Digest::of(base);
    put_as(store, scratch, &manifest, image)
}

/// The same, with an explanation of its files that has these lines.
fn put_explained(
    store: &Store,
    scratch: &Path,
    name: &str,
    image: &[u8],
    lines: &str,
) -> ManifestId {
    let packed = zstd::encode_all(lines.as_bytes(), 0).unwrap();
    let mut manifest = manifest(name, image);
    manifest.outputs.explanation = Some(Digest::of(&packed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let writing = store.begin().await.unwrap();
        writing.add_text(&packed).unwrap();
    });
    put_as(store, scratch, &manifest, image)
}

/// Stores an image with this manifest.
fn put_as(store: &Store, scratch: &Path, manifest: &Manifest, image: &[u8]) -> ManifestId {
    let path = scratch.join(Digest::of(image).hex());
    std::fs::write(&path, image).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let writing = store.begin().await.unwrap();
        writing.add_image(&path, &Ui::default()).await.unwrap();
        writing.commit(manifest, run(image)).unwrap()
    })
}

/// A run whose times follow from the image, so that a list has an order.
fn run(image: &[u8]) -> BuildRun {
    BuildRun {
        started: "2026-01-31T12:00:00Z".parse().unwrap(),
        finished: format!("2026-01-31T12:00:{:02}Z", image.len() % 60)
            .parse()
            .unwrap(),
        phases: [("provision".to_owned(), 1234)].into(),
        accelerator: "tcg".to_owned(),
    }
}
