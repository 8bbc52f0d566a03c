//! Figures for the database of vulnerabilities: `cargo bench --bench database [-- RECORDS]`.
//!
//! Makes 50,000 records of 4 KiB each, the same every time, in the shape of those that OSV has of Debian: an archive
//! (`all.zip`) and a directory of files. Imports both, and matches 437 packages, as many as a small web server has. All is
//! read from the page cache.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use karat::scan::inventory::{Inventory, Manager, Package, Release};
use karat::scan::vulnerability::import::{ImportSource, import};
use karat::scan::vulnerability::{self, Database, Options};
use karat::time::Timestamp;

#[expect(dead_code, reason = "no image is needed here")]
mod support;

use support::processor_time;

const RECORDS: usize = 50_000;
const PACKAGES: usize = 437;
/// Source packages that the records are about.
const SOURCES: usize = 4_000;
const ROUNDS: usize = 5;
/// What must be reached: seconds and MiB of an import, milliseconds of matching.
const MOST: (f64, f64, f64) = (3.0, 400.0, 50.0);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let records = arguments.find_map(|argument| argument.parse().ok());
    let records = records.unwrap_or(RECORDS);
    let scratch = tempfile::tempdir().unwrap();
    let (zip, directory) = (
        scratch.path().join("all.zip"),
        scratch.path().join("records"),
    );
    let bytes = make(records, &zip, &directory);
    println!("{records} records, {:.0} MiB", mebibytes(bytes));
    let to = scratch.path().join("database");
    let mut missed = false;
    for (name, path) in [("archive", &zip), ("directory", &directory)] {
        let (wall, processors, memory) = imported(path, &to);
        println!(
            "import of the {name:9}  {wall:5.2} s (at most {:.0})  {processors:5.2} s of processors  {memory:5.0} MiB (at most {:.0})",
            MOST.0, MOST.1
        );
        missed |= wall > MOST.0 || memory > MOST.1;
    }
    println!(
        "database               {:5.1} MiB",
        mebibytes(fs::metadata(&to).unwrap().len())
    );
    let matched = matched(&to);
    println!("opening it             {:5.1} ms", matched.open);
    println!(
        "{PACKAGES} packages matched   {:5.1} ms (at most {:.0})  {:5.1} ms of a processor  {} findings",
        matched.check, MOST.2, matched.busy, matched.findings
    );
    missed |= matched.check > MOST.2;
    if missed {
        println!("MISSED: more than there may be");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The best of some imports: seconds of wall time and of processors, MiB of memory at most.
fn imported(from: &Path, to: &Path) -> (f64, f64, f64) {
    let mut best = (f64::MAX, f64::MAX, 0.0_f64);
    for _ in 0..ROUNDS {
        // Forgets the peak so far.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let (began, busy) = (Instant::now(), processor_time());
        let origin = ImportSource::new(from.display().to_string(), from);
        import(&[origin], to, Timestamp::now()).unwrap();
        let wall = began.elapsed().as_secs_f64();
        let busy = processor_time().saturating_sub(busy).as_secs_f64();
        best = (
            best.0.min(wall),
            best.1.min(busy),
            best.2.max(peak_memory()),
        );
    }
    best
}

/// The best of some scans.
#[derive(Clone, Copy)]
struct Matched {
    /// Milliseconds to open the database.
    open: f64,
    /// Milliseconds to match.
    check: f64,
    /// What of it a processor was busy with: what is left are other programs.
    busy: f64,
    findings: usize,
}

fn matched(database: &Path) -> Matched {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let inventory = inventory();
    let mut best: Option<Matched> = None;
    for _ in 0..ROUNDS * 4 {
        let began = Instant::now();
        let database = Database::open(database).unwrap();
        let open = milliseconds(began.elapsed());
        let (began, before) = (Instant::now(), busy());
        let findings = vulnerability::check(&inventory, &database, &Options::at(Timestamp::now()));
        let (check, busy) = (
            milliseconds(began.elapsed()),
            milliseconds(busy().saturating_sub(before)),
        );
        let now = Matched {
            open,
            check,
            busy,
            findings: findings.unwrap().len(),
        };
        best = Some(best.map_or(now, |best| Matched {
            open: best.open.min(open),
            check: best.check.min(check),
            busy: best.busy.min(busy),
            findings: now.findings,
        }));
    }
    best.unwrap()
}

/// What this thread kept a processor busy with.
fn busy() -> Duration {
    let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let first = times.split(' ').next().unwrap();
    Duration::from_nanos(first.parse().unwrap())
}

fn inventory() -> Inventory {
    let packages = (0..PACKAGES).map(|number| {
        let source = source(number * (SOURCES / PACKAGES));
        Package {
            manager: Manager::Dpkg,
            name: format!("{source}-bin"),
            version: "1:5.4+dfsg-3+b1".to_owned(),
            architecture: "amd64".to_owned(),
            source,
            source_version: "1:5.4+dfsg-3".to_owned(),
            status: String::new(),
            license: String::new(),
        }
    });
    Inventory {
        release: Some(Release {
            id: "debian".to_owned(),
            version: "12".to_owned(),
            ..Release::default()
        }),
        packages: packages.collect(),
        ..Inventory::default()
    }
}

/// Writes the records in both forms; the answer is their size.
fn make(records: usize, zip: &Path, directory: &Path) -> u64 {
    fs::create_dir(directory).unwrap();
    let mut archive = Archive {
        file: BufWriter::new(File::create(zip).unwrap()),
        length: 0,
        list: Vec::new(),
        count: 0,
    };
    let mut size = 0;
    for number in 0..records {
        let (id, text) = record(number);
        size += text.len() as u64;
        fs::write(directory.join(format!("{id}.json")), &text).unwrap();
        archive.add(&format!("{id}.json"), text.as_bytes());
    }
    archive.finish();
    size
}

fn source(number: usize) -> String {
    format!("source-{}", number % SOURCES)
}

/// A record with its id: three of four about one vulnerability in three releases, the others advisories that join some.
fn record(number: usize) -> (String, String) {
    let cve = |number: usize| format!("CVE-{}-{}", 2010 + number % 16, 1000 + number / 4);
    let (id, upstream) = if number % 4 == 3 {
        let all: Vec<_> = (1..4)
            .map(|back| format!("\"{}\"", cve(number - back)))
            .collect();
        (format!("DSA-{number}-1"), all.join(","))
    } else {
        (
            format!("DEBIAN-{}", cve(number)),
            format!("\"{}\"", cve(number)),
        )
    };
    // A plain generator of numbers, so that versions and texts differ and pack no better than real ones.
    let mut state = number as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let affected: Vec<_> = ["Debian:11", "Debian:12", "Debian:13"]
        .iter()
        .map(|release| {
            let versions: Vec<_> = (0..40)
                .map(|_| format!("\"1:{}.{}-{}\"", random() % 9, random() % 30, random() % 9))
                .collect();
            let fixed = format!("1:{}.{}+dfsg-{}", random() % 9, random() % 30, random() % 9);
            format!(
                "{{\"package\":{{\"ecosystem\":\"{release}\",\"name\":\"{}\",\"purl\":\"pkg:deb/debian/{}?arch=source\"}},\
                 \"ranges\":[{{\"type\":\"ECOSYSTEM\",\"events\":[{{\"introduced\":\"0\"}},{{\"fixed\":\"{fixed}\"}}]}}],\
                 \"versions\":[{}],\"ecosystem_specific\":{{\"urgency\":\"not yet assigned\"}}}}",
                source(number / 4),
                source(number / 4),
                versions.join(","),
            )
        })
        .collect();
    let words: Vec<_> = (0..155)
        .map(|_| format!("w{:x}", random() & 0xffff_ffff))
        .collect();
    let words = words.join(" ");
    let text = format!(
        "{{\"id\":\"{id}\",\"summary\":\"A hole in {}\",\"details\":\"Somebody could do something.\\n{words}\",\"upstream\":[{upstream}],\
         \"modified\":\"2026-{:02}-01T12:00:00.123456Z\",\"published\":\"2025-01-01T00:00:00Z\",\"affected\":[{}],\
         \"severity\":[{{\"type\":\"CVSS_V3\",\"score\":\"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N\"}}],\
         \"references\":[{{\"type\":\"ADVISORY\",\"url\":\"https://example.org/tracker/{id}\"}}],\"schema_version\":\"1.7.3\"}}",
        source(number / 4),
        1 + number % 9,
        affected.join(","),
    );
    (id, text)
}

/// As much of a zip archive as it takes to write one.
struct Archive {
    file: BufWriter<File>,
    length: usize,
    list: Vec<u8>,
    count: usize,
}

impl Archive {
    fn add(&mut self, name: &str, content: &[u8]) {
        let mut crc = Crc::new();
        crc.update(content);
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        let packed = encoder.finish().unwrap();
        let about = [
            &[20, 0, 0, 0, 8, 0, 0, 0, 0, 0][..],
            &crc.sum().to_le_bytes(),
            &word(packed.len()),
            &word(content.len()),
            &word(name.len()),
        ];
        let about = about.concat();
        let place = word(self.length);
        self.list.extend(
            [
                b"PK\x01\x02\x14\0",
                &about[..],
                &[0; 10],
                &place,
                name.as_bytes(),
            ]
            .concat(),
        );
        self.put(&[b"PK\x03\x04", &about[..], name.as_bytes(), &packed].concat());
        self.count += 1;
    }

    fn finish(mut self) {
        let count = &word(self.count)[..2];
        let sizes = [word(self.list.len()), word(self.length)].concat();
        let end = [b"PK\x05\x06\0\0\0\0", count, count, &sizes, &[0, 0]].concat();
        let list = std::mem::take(&mut self.list);
        self.put(&list);
        self.put(&end);
        self.file.flush().unwrap();
    }

    fn put(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
        self.length += bytes.len();
    }
}

fn word(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap().to_le_bytes()
}

/// MiB that this process had at most since it was last forgotten.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u32 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    f64::from(kilobytes) / 1024.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of files are far below 2^52"
)]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
