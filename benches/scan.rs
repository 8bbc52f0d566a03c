//! Figures for a whole scan, beside syft listing the same tree: `cargo bench --bench scan [-- ID]`, as root.
//!
//! Without an id of the user's store, an image of about 600 MB is built once and kept in karat's cache. syft only lists packages;
//! karat looks for vulnerabilities (of 50,000 records made for the image), left-overs, secrets, and what nobody has declared,
//! for which it reads the base, too. All is read from the page cache.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::disk::read::qcow2::{Layer, open_chain};
use karat::fetch::Cache;

#[path = "support/partition.rs"]
mod partition;
#[expect(dead_code, reason = "shared by all benches")]
mod support;

const ROUNDS: usize = 5;
const RECORDS: usize = 50_000;
const KARAT: &str = env!("CARGO_BIN_EXE_karat");

/// What one run took, as time(1) says: seconds, and KiB.
#[derive(Clone, Copy, Debug)]
struct Figures {
    wall: f64,
    processors: f64,
    memory: f64,
}

fn main() {
    let cache = Cache::of_user().unwrap().root().join("bench");
    let syft = cache.join("syft/bin/syft");
    assert!(syft.exists(), "no syft: run `.ci/setup --bench`");
    let id = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    let (store, id) = id.map_or_else(
        || {
            let (store, id) = support::diverse();
            (Some(store), id)
        },
        |id| (None, id),
    );
    let scratch = tempfile::tempdir().unwrap();
    let mounted = Mounted::new(store.as_deref(), &id, scratch.path());
    let root = mounted.at.as_path();
    let database = database(root, scratch.path());
    println!("{}", size(root));
    let with_store = |command: &mut Command| {
        command.envs(store.as_ref().map(|store| ("KARAT_STORE", store)));
    };
    let scan = |target: &str| {
        let mut command = Command::new(KARAT);
        command
            .args(["scan", target, "--json", "--db"])
            .arg(&database);
        with_store(&mut command);
        command
    };
    let ways: [(&str, &dyn Fn() -> Command); 3] = [
        ("syft, listing the tree", &|| {
            let mut command = Command::new(&syft);
            let target = format!("dir:{}", root.display());
            command.args(["scan", &target, "-q", "-o", "json"]);
            command.env("SYFT_CHECK_FOR_APP_UPDATE", "false");
            command
        }),
        ("karat, the image, all checks", &|| scan(&id)),
        ("karat, the tree, no undeclared", &|| {
            scan(root.to_str().unwrap())
        }),
    ];
    let mut all: [Vec<Figures>; 3] = Default::default();
    // Interleaved, so that what else the machine does hits all alike; the first round fills the page cache.
    for round in 0..=ROUNDS {
        for (figures, (_, way)) in all.iter_mut().zip(&ways) {
            let measured = timed(&mut way(), scratch.path());
            if round > 0 {
                figures.push(measured);
            }
        }
    }
    let best = |figures: &[Figures], what: fn(&Figures) -> f64| {
        figures.iter().map(what).fold(f64::INFINITY, f64::min)
    };
    let theirs = best(&all[0], |it| it.wall);
    for ((name, _), figures) in ways.iter().zip(&all) {
        let wall = best(figures, |it| it.wall);
        println!(
            "{name:32} {wall:6.2} s  {:5.2} of syft  {:6.2} s of processors  {:6.1} MiB",
            wall / theirs,
            best(figures, |it| it.processors),
            figures.iter().map(|it| it.memory).fold(0.0, f64::max) / 1024.0,
        );
    }
}

/// The root file system of an image, mounted by the kernel.
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    fn new(store: Option<&Path>, id: &str, scratch: &Path) -> Self {
        let at = scratch.join("root");
        fs::create_dir(&at).unwrap();
        let place = |name: &str| scratch.join(name).display().to_string();
        let (image, raw) = (place("image"), place("raw"));
        let mut export = Command::new(KARAT);
        export.args(["export", "--quiet", "--output", &image, id]);
        run(export.envs(store.map(|store| ("KARAT_STORE", store))));
        run(Command::new("qemu-img").args(["convert", "-O", "raw", &image, &raw]));
        let disk = open_chain(&[Layer::Raw(raw.clone().into())]).unwrap();
        let (offset, length) = partition::root(&disk);
        let options = format!("loop,ro,noatime,offset={offset},sizelimit={length}");
        run(Command::new("mount").args(["-o", &options, &raw]).arg(&at));
        Self { at }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ended = Command::new("umount").arg(&self.at).status();
    }
}

/// A database with as many records as a release has, for the packages of the tree.
fn database(root: &Path, scratch: &Path) -> PathBuf {
    let status = fs::read_to_string(root.join("var/lib/dpkg/status")).unwrap();
    let packages: Vec<_> = status
        .lines()
        .filter_map(|line| line.strip_prefix("Package: "))
        .collect();
    let records = scratch.join("records");
    fs::create_dir(&records).unwrap();
    for number in 0..RECORDS {
        let mut package = packages[number % packages.len()].to_owned();
        // An image has one package in a hundred.
        if number % 100 != 0 {
            write!(package, "-{}", number / packages.len()).unwrap();
        }
        let record = format!(
            r#"{{"id": "DEBIAN-CVE-2024-{number}", "modified": "2026-01-01T00:00:00Z", "upstream": ["CVE-2024-{number}"],
            "details": "{}", "affected": [{{"package": {{"ecosystem": "Debian:12", "name": "{package}"}},
            "ranges": [{{"type": "ECOSYSTEM", "events": [{{"introduced": "0"}}, {{"fixed": "{}:1-1"}}]}}]}}]}}"#,
            "Something was wrong. ".repeat(20),
            number % 3,
        );
        fs::write(records.join(format!("{number}.json")), record).unwrap();
    }
    let database = scratch.join("vulnerabilities.db");
    run(Command::new(KARAT)
        .args(["db", "import", "--db"])
        .args([&database, &records]));
    database
}

fn size(root: &Path) -> String {
    let (mut paths, mut bytes, mut todo) = (0, 0, vec![root.to_owned()]);
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            paths += 1;
            if metadata.is_dir() {
                todo.push(entry.path());
            } else if metadata.is_file() {
                bytes += metadata.len();
            }
        }
    }
    format!(
        "{paths} paths, {} MB of files, {RECORDS} records\n",
        bytes / 1_000_000
    )
}

/// Runs it under time(1): a scan may end with what the policy says.
fn timed(command: &mut Command, scratch: &Path) -> Figures {
    let figures = scratch.join("figures");
    let mut time = Command::new("/usr/bin/time");
    time.args(["-q", "-f", "%e %U %S %M", "-o"]).arg(&figures);
    time.arg(command.get_program()).args(command.get_args());
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let output = time.envs(set).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(output.status.code(), Some(0 | 3)),
        "{command:?}: {said}"
    );
    let text = fs::read_to_string(&figures).unwrap();
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let [wall, user, system, memory] = numbers[..] else {
        panic!("{text}");
    };
    Figures {
        wall,
        processors: user + system,
        memory,
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
