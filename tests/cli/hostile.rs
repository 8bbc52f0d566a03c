//! Systems made to keep a scan busy, to lead it astray, or to fill its memory: each ends with a report or an error of its own.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::site::Site;

/// What no scan may take, in KiB.
const MOST_MEMORY: u64 = 1 << 20;
/// After so many looks at it a scan hangs: ten minutes.
const MOST_LOOKS: usize = 60_000;
const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";

/// A small Debian.
fn site() -> Site {
    let site = Site::new();
    site.write("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    site.write("root/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    site.write("root/etc/group", "root:x:0:\n");
    site.write("root/usr/bin/tool", "abc");
    let package = "Package: tool\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: M\nDescription: d\n";
    site.write(&format!("root/{STATUS}"), package);
    site.write(&format!("root/{INFO}/tool.list"), "/.\n/usr/bin/tool\n");
    let sums = "900150983cd24fb0d6963f7d28e17f72  usr/bin/tool\n";
    site.write(&format!("root/{INFO}/tool.md5sums"), sums);
    site
}

/// A file of zeros that takes no room.
fn sparse(site: &Site, path: &str, length: u64) {
    let path = site.path(&format!("root/{path}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().set_len(length).unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// An ext4 with what is in `root`.
fn image(site: &Site, length: &str) {
    let [root, disk] = ["root", "disk"].map(|name| site.path(name).display().to_string());
    run("truncate", &["-s", length, &disk]);
    run("/sbin/mke2fs", &["-q", "-t", "ext4", "-d", &root, &disk]);
}

/// What came of a scan: its exit code, all that it said, and the most memory that was seen, in KiB.
struct Ended {
    code: Option<i32>,
    said: String,
    memory: u64,
}

fn scan(site: &Site, target: &str) -> Ended {
    let out = File::create(site.path("out")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_karat"))
        .args(["scan", target, "--without", "vulnerabilities"])
        .current_dir(site.path(""))
        .env_clear()
        .env("HOME", site.path("home"))
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let memory = watch(&mut child);
    let code = child.wait().unwrap().code();
    let mut said = String::new();
    File::open(site.path("out"))
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    Ended { code, said, memory }
}

/// The most memory of a child until it ends.
fn watch(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    for _ in 0..MOST_LOOKS {
        if child.try_wait().unwrap().is_some() {
            return most;
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        most = most.max(number.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("the scan hangs; it has {most} KiB");
}

/// What is wrong with how a scan ended: it has to say this, and to be within its memory.
fn wrong(name: &str, ended: &Ended, code: &[i32], expected: &str) -> Option<String> {
    let Ended {
        code: found,
        said,
        memory,
    } = ended;
    let good = found.is_some_and(|found| code.contains(&found))
        && said.contains(expected)
        && *memory < MOST_MEMORY
        && !said.contains("panicked");
    // As an answer to `--nocapture`.
    println!("{name}: exit {found:?}, {} MiB", memory >> 10);
    (!good)
        .then(|| format!("{name}: exit {found:?}, {memory} KiB, instead of {expected:?}: {said}"))
}

/// A case: its name, how it is planted, the exit codes that it may have, and what is said of it.
type Case = (&'static str, fn(&Site), &'static [i32], &'static str);

fn check(cases: &[Case], targets: &[&str]) {
    let mut all = Vec::new();
    for (name, plant, codes, expected) in cases {
        let site = site();
        plant(&site);
        for target in targets {
            if *target == "disk" {
                image(&site, "96M");
            }
            let ended = scan(&site, target);
            all.extend(wrong(
                &format!("{name} in {target}"),
                &ended,
                codes,
                expected,
            ));
        }
        // What the standard library removes, it removes by recursion.
        run("rm", &["-rf", &site.path("root").display().to_string()]);
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// A report was made, whatever the policy says of it.
const REPORT: &[i32] = &[0, 3];
const ERROR: &[i32] = &[1];

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_leads_astray_ends_with_a_report_or_an_error() {
    let cases: &[Case] = &[
        ("nothing hostile", |_| (), REPORT, "1 package"),
        (
            "links in circles",
            |site| {
                let at = |name: &str| site.path(&format!("root/{name}"));
                fs::create_dir_all(at("root")).unwrap();
                for (name, target) in [
                    ("etc/shadow", "shadow"),
                    ("etc/sudoers", "../etc/sudoers-"),
                    ("etc/sudoers-", "/etc/sudoers"),
                    ("root/.ssh", "/root/.ssh/../.ssh"),
                    ("usr/lib", "../usr/./lib/x"),
                    ("opt", "/"),
                ] {
                    symlink(target, at(name)).unwrap();
                }
            },
            REPORT,
            "1 package",
        ),
        (
            "a database that is a circle",
            |site| {
                let status = site.path(&format!("root/{STATUS}"));
                fs::remove_file(&status).unwrap();
                symlink("status", status).unwrap();
            },
            ERROR,
            "the package database is missing",
        ),
        (
            "a hole of 1 TiB",
            |site| sparse(site, "opt/hole", 1 << 40),
            REPORT,
            "1 package",
        ),
        (
            "a hole of 1 TiB that a package has",
            |site| sparse(site, "usr/bin/tool", 1 << 40),
            ERROR,
            "is too large to scan",
        ),
        (
            "a hole of 1 TiB for passwords",
            |site| sparse(site, "etc/passwd", 1 << 40),
            ERROR,
            "/etc/passwd",
        ),
        (
            "a hole of 1 TiB for a status",
            |site| sparse(site, STATUS, 1 << 40),
            ERROR,
            "/var/lib/dpkg/status",
        ),
        (
            "a hole of 1 TiB for keys",
            |site| sparse(site, "root/.ssh/authorized_keys", 1 << 40),
            ERROR,
            "authorized_keys",
        ),
        (
            "a status without end",
            |site| site.write(&format!("root/{STATUS}"), &"a".repeat(40 << 20)),
            ERROR,
            "status",
        ),
        (
            "a database of pages in circles",
            |site| {
                let path = site.path("root/var/lib/rpm/rpmdb.sqlite");
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, circular_database()).unwrap();
            },
            ERROR,
            "rpmdb.sqlite",
        ),
        (
            "a package that lies",
            |site| {
                let path = site.path("root/var/cache/apt/archives/a.deb");
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let member = |name: &str, size: &str| {
                    format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644)
                };
                let lies = format!(
                    "!<arch>\n{}2.0\n{}",
                    member("debian-binary", "4"),
                    member("data.tar.xz", "9999999999")
                );
                fs::write(path, lies).unwrap();
            },
            REPORT,
            "1 package",
        ),
        (
            "xz that wants 4 GiB",
            |site| {
                let path = site.path("root/opt/a.xz");
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, greedy_xz()).unwrap();
            },
            REPORT,
            "1 package",
        ),
        (
            "a journal of nothing but starts",
            |site| {
                let path = site.path("root/var/log/journal/a.journal");
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let starts = [0x28, 0xb5, 0x2f, 0xfd].repeat(1 << 18);
                fs::write(path, [&b"LPKSHHRH"[..], &starts].concat()).unwrap();
            },
            REPORT,
            "1 package",
        ),
    ];
    check(cases, &["root", "disk"]);
}

/// A database in the format of `SQLite` whose only inner page leads to itself.
fn circular_database() -> Vec<u8> {
    let mut page = vec![0; 512];
    page[..16].copy_from_slice(b"SQLite format 3\0");
    page[16..24].copy_from_slice(&[2, 0, 1, 1, 0, 64, 32, 32]);
    page[28..32].copy_from_slice(&1_u32.to_be_bytes());
    page[44..48].copy_from_slice(&4_u32.to_be_bytes());
    page[56..60].copy_from_slice(&1_u32.to_be_bytes());
    // An inner page without entries; the last child is page 1.
    page[100] = 5;
    page[105..107].copy_from_slice(&512_u16.to_be_bytes());
    page[108..112].copy_from_slice(&1_u32.to_be_bytes());
    page
}

/// The start of an xz file whose dictionary has 4 GiB.
fn greedy_xz() -> Vec<u8> {
    let summed = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        [bytes, &crc.sum().to_le_bytes()].concat()
    };
    let block = summed(&[2, 0, 0x21, 1, 40, 0, 0, 0]);
    let mut file = [&b"\xfd7zXZ\0"[..], &summed(&[0, 1]), &block].concat();
    // A chunk that is not compressed, with a new dictionary.
    file.extend([1, 0, 3, b'a', b'b', b'c', b'd']);
    file
}

#[test]
fn a_directory_in_itself_is_an_error() {
    let site = site();
    fs::create_dir_all(site.path("root/srv/a/b")).unwrap();
    image(&site, "32M");
    let disk = site.path("disk").display().to_string();
    run(
        "/sbin/debugfs",
        &["-w", "-R", "ln /srv/a /srv/a/b/again", &disk],
    );
    let ended = scan(&site, "disk");
    let wrong = wrong("a directory in itself", &ended, ERROR, "has two names");
    assert_eq!(wrong, None);
}

/// As many directories, each in the one before.
fn deep(site: &Site, levels: usize) {
    use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut here = open(site.path("root/srv"), flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = openat(&here, "d", flags, Mode::empty()).unwrap();
    }
}

fn bomb(site: &Site, name: &str, mebibytes: usize) {
    let path = site.path(&format!("root/var/log/{name}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut gzip =
        flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    for _ in 0..mebibytes {
        gzip.write_all(&vec![b'a'; 1 << 20]).unwrap();
    }
    gzip.finish().unwrap();
}

/// What is small in `make test` is large in `make soak`.
fn scaled(small: usize, large: usize) -> usize {
    let soak = std::env::var_os("KARAT_SOAK_ROUNDS").is_some();
    if soak { large } else { small }
}

#[test]
fn what_fills_time_or_memory_ends_as_well() {
    let cases: &[Case] = &[
        (
            "a directory of many names",
            |site| {
                fs::create_dir(site.path("root/srv")).unwrap();
                for number in 0..scaled(10_000, 1_000_000) {
                    File::create(site.path(&format!("root/srv/{number}"))).unwrap();
                }
            },
            REPORT,
            "1 package",
        ),
        (
            "a large status",
            |site| {
                let mut file = File::create(site.path(&format!("root/{STATUS}"))).unwrap();
                for _ in 0..scaled(65, 1024) {
                    file.write_all(&vec![b'a'; 1 << 20]).unwrap();
                }
            },
            ERROR,
            "/var/lib/dpkg/status",
        ),
        (
            "a deep directory",
            |site| {
                fs::create_dir(site.path("root/srv")).unwrap();
                deep(site, scaled(9000, 100_000));
            },
            ERROR,
            "name too long",
        ),
        (
            "bombs",
            |site| {
                bomb(site, "0.gz", scaled(300, 1024));
                let at = |number| site.path(&format!("root/var/log/{number}.gz"));
                for number in 1..scaled(1, 100) {
                    fs::copy(at(0), at(number)).unwrap();
                }
            },
            REPORT,
            "secret-not-searched",
        ),
    ];
    check(cases, &["root"]);
}
