//! Containers that only qemu-img writes: the same disk gives the same file, too.

use std::fs;
use std::path::{Path, PathBuf};

use karat::disk::clean::CustomRules;
use karat::disk::{BaseImage, NormalizeRequest, NormalizedImage, inspect, normalize};
use karat::plan::Format;
use karat::ui::Ui;

use super::image::run;
use super::{make, noise};

const EPOCH: i64 = 1_700_000_000;

/// A base with something in it, without root: karat writes what it reads, and `debugfs` puts files in.
fn base(scratch: &Path) -> PathBuf {
    let base = make(scratch, 64, "-b 4096");
    let noise_file = scratch.join("noise");
    fs::write(&noise_file, noise(5_000_000)).unwrap();
    let commands = scratch.join("commands");
    let text = format!(
        "write {} noise\nmkdir etc\nmkdir var\nwrite {} etc/commands\n",
        noise_file.display(),
        commands.display()
    );
    fs::write(&commands, text).unwrap();
    run(
        "debugfs",
        &[
            "-w",
            "-f",
            commands.to_str().unwrap(),
            base.to_str().unwrap(),
        ],
    );
    base
}

/// Writes the disk anew from an overlay of its own, in a directory of its own.
async fn packed(
    base: &Path,
    place: &Path,
    cluster_size: &str,
    format: Format,
) -> (NormalizedImage, Vec<u8>) {
    fs::create_dir(place).unwrap();
    let overlay = place.join("overlay.qcow2");
    let options = format!("cluster_size={cluster_size}");
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            &options,
            "-F",
            "raw",
            "-b",
            base.to_str().unwrap(),
            overlay.to_str().unwrap(),
            "200M",
        ],
    );
    let request = NormalizeRequest {
        overlays: vec![overlay],
        base: BaseImage {
            path: base.to_owned(),
            format: "raw".to_owned(),
        },
        format,
        epoch: EPOCH,
        custom_rules: CustomRules::default(),
    };
    let to = place.join("image");
    let normalized = normalize(request, &to, &Ui::default()).await.unwrap();
    // Nothing in the file is outside of its disk.
    inspect(&to).await.unwrap();
    (normalized, fs::read(to).unwrap())
}

#[tokio::test]
async fn vmdk_and_vhd_have_the_same_bytes_every_time() {
    let scratch = tempfile::tempdir().unwrap();
    let base = base(scratch.path());
    for (format, driver) in [(Format::Vmdk, "vmdk"), (Format::Vhd, "vpc")] {
        let place = |name: &str| scratch.path().join(format!("{driver} {name}"));
        let (first, bytes) = packed(&base, &place("one"), "64k", format).await;
        // Names, times and numbers that qemu-img chooses must not show: in another second, with an overlay that is laid out
        // in another way, under a longer path, and with another conversion at the same time.
        let began = std::time::SystemTime::now();
        while began.elapsed().unwrap().as_millis() < 1100 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let places = [place("another one, with a longer name"), place("beside it")];
        let (second, third) = tokio::join!(
            packed(&base, &places[0], "4k", format),
            packed(&base, &places[1], "2M", format),
        );
        for (normalized, other) in [second, third] {
            let differs = other.iter().zip(&bytes).position(|(one, two)| one != two);
            assert!(
                other == bytes,
                "{driver}: {} and {} bytes differ from {differs:?} on",
                other.len(),
                bytes.len()
            );
            assert_eq!(normalized.file, first.file, "{driver}");
            assert_eq!(normalized.content, first.content, "{driver}");
        }
        // And it is the disk: what qemu-img reads out of it has the digest that is on record.
        let raw = scratch.path().join(format!("{driver}.raw"));
        run(
            "qemu-img",
            &[
                "convert",
                "-f",
                driver,
                "-O",
                "raw",
                place("one").join("image").to_str().unwrap(),
                raw.to_str().unwrap(),
            ],
        );
        assert_eq!(
            super::content_of(&fs::read(&raw).unwrap()),
            first.content.hex()
        );
    }
}
