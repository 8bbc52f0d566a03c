//! qcow2 images as `qemu-img` and `qemu-io` write them.

use std::fs;
use std::sync::Arc;

use karat::disk::read::qcow2::{Layer, Qcow2, open_chain};
use karat::disk::read::{BlockRead, Memory, RawFile};

use super::populate::noise;
use super::site::{Site, success};

/// All bytes, read in pieces that fit no cluster, from several threads at once; and the spans say nothing false of them.
fn bytes(disk: &Arc<dyn BlockRead>) -> Vec<u8> {
    let mut all = vec![0xaa; usize::try_from(disk.len()).unwrap()];
    std::thread::scope(|scope| {
        for (index, part) in all.chunks_mut(3_000_001).enumerate() {
            scope.spawn(move || {
                let start = index as u64 * 3_000_001;
                for (at, piece) in (0..).step_by(77_777).zip(part.chunks_mut(77_777)) {
                    disk.read_at(start + at, piece).unwrap();
                }
            });
        }
    });
    let mut at = 0;
    while at < disk.len() {
        let span = disk.span(at).unwrap();
        assert!(span.length > 0, "nothing at {at}");
        let (from, to) = (
            usize::try_from(at).unwrap(),
            usize::try_from(at + span.length).unwrap(),
        );
        assert!(
            !span.zero || all[from..to].iter().all(|byte| *byte == 0),
            "{from} to {to} are not zeros"
        );
        at += span.length;
    }
    assert!(disk.read_at(disk.len(), &mut [0]).is_err());
    all
}

/// Zeros, text, noise, holes: clusters of every kind.
pub fn content() -> Vec<u8> {
    let mut content = vec![0; 9 << 20];
    content[..500_000].copy_from_slice(&noise(1, 500_000));
    for (index, line) in content[1 << 20..3 << 20].chunks_mut(16).enumerate() {
        line.copy_from_slice(format!("{index:015}\n").as_bytes());
    }
    content[8 << 20..][..5000].copy_from_slice(&noise(2, 5000));
    let end = content.len();
    content[end - 700..].fill(7);
    content
}

#[test]
fn every_kind_of_qcow2_is_read_as_qemu_reads_it() {
    let site = Site::new();
    fs::write(site.path("raw"), content()).unwrap();
    for options in [
        "-o compat=0.10",
        "-o compat=1.1",
        "-o cluster_size=512",
        "-o cluster_size=2M",
        "-c",
        "-c -o compat=0.10",
        "-c -o cluster_size=512",
        "-c -o compression_type=zstd",
        "-c -W -m 4 -o compression_type=zstd,cluster_size=4k",
        "-c -o compression_type=zstd,cluster_size=2M",
        "-o extended_l2=on",
        "-c -o extended_l2=on,cluster_size=128k,compression_type=zstd",
        "-o lazy_refcounts=on,preallocation=metadata",
    ] {
        let image = site.text("image");
        let raw = site.text("raw");
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options.split(' '));
        arguments.extend([raw.as_str(), image.as_str()]);
        success("qemu-img", &arguments);
        let disk = open_chain(&[Layer::Qcow2(image.into())])
            .unwrap_or_else(|error| panic!("{options}: {error}"));
        assert!(bytes(&disk) == content(), "{options}: other bytes");
    }
}

#[test]
fn a_chain_is_read_as_qemu_reads_it() {
    let site = Site::new();
    fs::write(site.path("raw"), content()).unwrap();
    let at = |name: &str| site.text(name);
    let image = |arguments: &str| {
        let arguments: Vec<_> = arguments
            .split(' ')
            .map(|word| word.replace('@', &site.text("")))
            .collect();
        success(
            "qemu-img",
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    };
    for (base, overlay) in [
        ("-c -o compression_type=zstd", ""),
        ("", "-o extended_l2=on,cluster_size=64k"),
        ("-o cluster_size=4k", "-o cluster_size=1M"),
    ] {
        image(&format!("convert -f raw -O qcow2 {base} @raw @base").replace("  ", " "));
        image(
            &format!("create -q -f qcow2 {overlay} -b @base -F qcow2 @middle 12M")
                .replace("  ", " "),
        );
        image("create -q -f qcow2 -b @middle -F qcow2 @top 20M");
        for (file, commands) in [
            (
                "middle",
                vec![
                    "write -P 1 100k 300k",
                    "write -z 2M 64k",
                    "write -P 2 11M 1k",
                    "discard 8M 1M",
                ],
            ),
            (
                "top",
                vec![
                    "write -P 3 250k 70k",
                    "write -P 4 19M 512",
                    "write -z 500k 3k",
                ],
            ),
        ] {
            let file = at(file);
            let mut arguments = vec!["-f", "qcow2"];
            arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
            arguments.push(&file);
            success("qemu-io", &arguments);
        }
        image("convert -f qcow2 -O raw @top @flat");
        let layers = ["top", "middle", "base"].map(|name| Layer::Qcow2(site.path(name)));
        let disk = open_chain(&layers).unwrap();
        assert!(
            bytes(&disk) == fs::read(site.path("flat")).unwrap(),
            "{base} {overlay}: other bytes"
        );
        // What a header names is never opened: it has to be given, and nothing else can be.
        assert!(open_chain(&layers[..2]).is_err(), "an overlay alone");
        assert!(
            open_chain(&[layers[2].clone(), Layer::Raw(site.path("raw"))]).is_err(),
            "something below a base"
        );
        assert!(
            open_chain(&[Layer::Raw(site.path("raw")), layers[2].clone()]).is_err(),
            "a raw overlay"
        );
    }
    assert!(open_chain(&[]).is_err());
}

#[test]
fn what_karat_cannot_read_says_so() {
    let site = Site::new();
    let at = |name: &str| site.text(name);
    let data = format!("data_file={}", at("data"));
    let create = ["create", "-q", "-f", "qcow2", "-o", &data];
    success("qemu-img", &[&create[..], &[&at("image"), "1M"]].concat());
    let file = RawFile::open(&site.path("image")).unwrap();
    let error = Qcow2::open(file, None).err().unwrap().to_string();
    assert!(error.contains("its data in another file"), "{error}");
    success(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", &at("plain"), "1M"],
    );
    let plain = fs::read(site.path("plain")).unwrap();
    for (at, byte, expected) in [
        (0, 0, "the magic number is missing"),
        (7, 4, "version 4"),
        (23, 40, "2^40"),
        (35, 1, "encryption"),
        (79, 2, "marked as corrupt"),
        (79, 64, "unknown features (0x40)"),
        (24, 0x7f, "do not cover"),
    ] {
        let mut bytes = plain.clone();
        bytes[at] = byte;
        let error = Qcow2::open(Memory(bytes), None).err().unwrap().to_string();
        assert!(error.contains(expected), "{at}: {error}");
    }
}
