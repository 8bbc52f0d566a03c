//! Disks with random damage: each gives files or errors, never a panic. Damage follows from a number, so each case is reproducible.
//!
//! `make soak` does many rounds, in a process of its own whose memory is looked at.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::explore::{self, Explored};
use super::populate::{noise, plain_small};
use super::site::{Site, success};

/// For `make test`; enough to notice what is careless.
const ROUNDS: u64 = 60;
/// What a soak may take at most, with all the disks it starts from.
const MOST_MEMORY_KB: u64 = 400_000;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// Where a disk has something: damage to zeros is seldom seen.
fn used(bytes: &[u8]) -> Vec<usize> {
    let blocks = bytes.chunks(64).enumerate();
    blocks
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
        .map(|(index, _)| index * 64)
        .collect()
}

fn damage(bytes: &mut [u8], used: &[usize], random: &mut Random) {
    const VALUES: [u64; 12] = [
        0,
        1,
        2,
        5,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0xffff,
        0x7fff_ffff,
        0xffff_ffff,
        0x7fff_ffff_ffff_ffff,
    ];
    for _ in 0..=random.below(12) {
        // Half of it near the start, where the tables are.
        let end = if random.below(2) == 0 {
            used.len().min(400)
        } else {
            used.len()
        };
        let at = used[random.below(end)] + random.below(64);
        let length = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at..at + length]
                .copy_from_slice(&VALUES[random.below(12)].to_le_bytes()[..length]),
            2 => bytes[at..at + length]
                .copy_from_slice(&VALUES[random.below(12)].to_be_bytes()[8 - length..]),
            3 => bytes[at] = bytes[at].wrapping_add([1, 255, 4, 252][random.below(4)]),
            4 => {
                let from = used[random.below(used.len())];
                let length = [8, 32, 64][random.below(3)];
                let to = (at / 4 * 4).min(bytes.len() - length);
                let from = from.min(bytes.len() - length);
                bytes.copy_within(from..from + length, to);
            }
            _ => {
                let small = u32::try_from(random.below(4096)).unwrap().to_le_bytes();
                bytes[at..at + length.min(4)].copy_from_slice(&small[..length.min(4)]);
            }
        }
    }
}

fn soak(name: &str, bytes: &[u8], rounds: u64, explore: fn(Vec<u8>) -> Explored) {
    let whole = explore(bytes.to_vec());
    assert!(whole.good > 3, "{name}: only {whole:?} without damage");
    let used = used(bytes);
    let mut total = Explored::default();
    for round in 0..rounds {
        let mut damaged = bytes.to_vec();
        damage(&mut damaged, &used, &mut Random(round));
        let explored = catch_unwind(AssertUnwindSafe(|| explore(damaged)));
        let explored = explored.unwrap_or_else(|_| panic!("{name}, round {round}"));
        total.good += explored.good;
        total.bad += explored.bad;
    }
    assert!(
        total.good > 0 && total.bad > 0,
        "{name}: {total:?}: no damage was seen"
    );
    eprintln!(
        "{name}: {rounds} rounds, {} good and {} bad reads",
        total.good, total.bad
    );
}

/// Small disks of every kind, made without root.
fn disks(site: &Site) -> Vec<(String, Vec<u8>)> {
    let from = site.path("from");
    fs::create_dir(&from).unwrap();
    plain_small(&from);
    let mut disks = Vec::new();
    for options in [
        "-t ext2 -b 1024",
        "-t ext3 -b 1024 -J size=1 -I 128",
        "-t ext4 -b 1024 -J size=1",
        "-t ext4 -b 1024 -J size=1 -O ^metadata_csum,^64bit",
        "-t ext4 -b 4096 -O ^has_journal,inline_data,ea_inode",
        "-t ext4 -b 1024 -O ^has_journal,bigalloc -C 4096",
        "-t ext4 -b 1024 -O ^has_journal,meta_bg,^resize_inode -g 1024",
    ] {
        let from = site.text("from");
        site.mke2fs("disk", 4 << 20, &format!("{options} -N 300 -d {from}"));
        disks.push((options.to_owned(), fs::read(site.path("disk")).unwrap()));
    }
    for open in ["jo", "jo -c -v 3"] {
        let from = site.text("from");
        site.mke2fs(
            "disk",
            5 << 20,
            &format!("-t ext4 -b 1024 -J size=1 -N 300 -d {from}"),
        );
        fs::write(site.path("blocks"), noise(7, 3 * 1024)).unwrap();
        let script = format!(
            "{open}\njw -b 3000,3001,3002 {}\njw -r 3001\njw -b 3003,3004,3005 {0}\njc",
            site.text("blocks")
        );
        fs::write(site.path("script"), script).unwrap();
        success(
            "debugfs",
            &["-w", "-f", &site.text("script"), &site.text("disk")],
        );
        disks.push((
            format!("dirty, {open}"),
            fs::read(site.path("disk")).unwrap(),
        ));
    }
    for (size, kind) in [
        (1 << 20, fatfs::FatType::Fat12),
        (4 << 20, fatfs::FatType::Fat16),
        (34 << 20, fatfs::FatType::Fat32),
    ] {
        disks.push((format!("{kind:?}"), super::fat::fat(size, kind, 512).0));
    }
    disks
}

fn images(site: &Site) -> Vec<(String, Vec<u8>)> {
    fs::write(site.path("raw"), super::qcow2::content()).unwrap();
    let (raw, image) = (site.text("raw"), site.text("image"));
    let kinds = [
        "-o cluster_size=4k",
        "-c",
        "-c -o compression_type=zstd,cluster_size=4k",
        "-o extended_l2=on",
        "-c -o compat=0.10,cluster_size=512",
    ];
    let convert = |options: &&str| {
        let mut arguments = vec!["convert", "-f", "raw", "-O", "qcow2"];
        arguments.extend(options.split(' '));
        arguments.extend([raw.as_str(), image.as_str()]);
        success("qemu-img", &arguments);
        ((*options).to_owned(), fs::read(&image).unwrap())
    };
    kinds.iter().map(convert).collect()
}

#[test]
fn damaged_disks_give_errors_and_no_panic() {
    let asked = std::env::var("KARAT_SOAK_ROUNDS").ok();
    let rounds = asked
        .as_ref()
        .map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let site = Site::new();
    for (name, bytes) in disks(&site) {
        soak(&name, &bytes, rounds, explore::disk);
    }
    for (name, bytes) in images(&site) {
        soak(&name, &bytes, rounds, explore::qcow2);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    eprintln!("most memory: {most} kB");
    assert!(asked.is_none() || most < MOST_MEMORY_KB, "{most} kB");
}
