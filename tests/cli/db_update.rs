//! `karat db update` against a server that fails in the ways that servers fail.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::db::{record, zipped};
use crate::site::{IMAGE, Site};
use crate::support::{disk, site, web};

/// Behavior of the server for the path of the first feed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Normal,
    /// The files have a newer version.
    Newer,
    Missing,
    Garbage,
    Redirect,
    /// The next answer is cut short, later ones are normal.
    CutOnce,
    /// The answer never ends.
    Hang,
}

struct Feeds {
    web: web::Web,
    mode: Arc<Mutex<Mode>>,
}

const FIRST: &str = "/debian";

impl Feeds {
    fn new() -> Self {
        let zip = |ecosystem: &str| {
            zipped(&[(
                "one.json",
                &record(&format!("{ecosystem}-1"), ecosystem, "hello"),
            )])
        };
        let newer = zipped(&[
            (
                "one.json",
                &record("DEBIAN-CVE-2026-1", "Debian:12", "hello"),
            ),
            (
                "two.json",
                &record("DEBIAN-CVE-2026-2", "Debian:12", "hello"),
            ),
        ]);
        let tracker =
            json!({"hello": {"CVE-2026-3": {"releases": {"bookworm": {"status": "open"}}}}});
        let mode = Arc::new(Mutex::new(Mode::Normal));
        let shared = Arc::clone(&mode);
        let web = web::Web::on(
            "127.0.0.1",
            "http",
            [
                ("/debian", &zip("Debian:12")[..]),
                ("/newer", &newer),
                ("/debian-tracker", tracker.to_string().as_bytes()),
                ("/ubuntu", &zip("Ubuntu:24.04:LTS")),
                ("/almalinux", &zip("AlmaLinux:9")),
                ("/rocky", &zip("Rocky Linux:9")),
                ("/alpine", &zip("Alpine:v3.20")),
            ],
            move |stream, files, log| answer(stream, files, log, &shared),
        );
        Self { web, mode }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Returns the value of `KARAT_DB_SOURCES` that has all feeds here.
    fn sources(&self) -> String {
        let names = [
            "debian",
            "debian-tracker",
            "ubuntu",
            "almalinux",
            "rocky",
            "alpine",
        ];
        let sources = names.map(|name| format!("{name}={}", self.web.url(&format!("/{name}"))));
        sources.join(" ")
    }

    /// Returns the paths that were requested since the first `from` requests, and whether all requests were conditional.
    fn asked(&self, from: usize) -> (Vec<String>, bool) {
        let asked = self.web.asked();
        let paths = asked[from..].iter();
        let mut paths: Vec<_> = paths
            .map(|head| head.split(' ').nth(1).unwrap().to_owned())
            .collect();
        paths.sort();
        let conditional = asked[from..]
            .iter()
            .all(|head| head.to_ascii_lowercase().contains("\r\nif-none-match: "));
        (paths, conditional)
    }
}

/// Answers one request. Files have entity tags.
fn answer(
    stream: TcpStream,
    files: &web::Files,
    log: &web::Log,
    mode: &Mutex<Mode>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    log.lock().unwrap().push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let now = match *mode.lock().unwrap() {
        mode if path == FIRST => mode,
        _ => Mode::Normal,
    };
    let file = if now == Mode::Newer { "/newer" } else { &path };
    let body = files.get(file).cloned().unwrap_or_default();
    let tag = format!("\"{file}\"");
    let close = "Connection: close\r\n\r\n";
    let stream = stream.get_mut();
    if head
        .to_ascii_lowercase()
        .contains(&format!("if-none-match: {tag}"))
    {
        return write!(
            stream,
            "HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n{close}"
        );
    }
    match now {
        Mode::Missing => {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{close}"
            );
        }
        Mode::Redirect => {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: /newer\r\nContent-Length: 0\r\n{close}"
            );
        }
        Mode::Garbage => {
            let page = "<html>log in to the network</html>";
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}{page}",
                page.len()
            );
        }
        _ => {}
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nETag: {tag}\r\nContent-Length: {}\r\n{close}",
        body.len()
    )?;
    match now {
        Mode::CutOnce => {
            *mode.lock().unwrap() = Mode::Normal;
            stream.write_all(&body[..body.len() / 2])
        }
        Mode::Hang => {
            stream.write_all(&body[..body.len() / 2])?;
            std::thread::sleep(Duration::from_mins(1));
            Ok(())
        }
        _ => stream.write_all(&body),
    }
}

/// A site whose feeds are at a server, and whose database is `the.db`.
fn site() -> (Site, Feeds) {
    let mut site = Site::new();
    let feeds = Feeds::new();
    site.set("KARAT_DB_SOURCES", feeds.sources());
    let path = site.path("the.db");
    site.set("KARAT_DB", path);
    (site, feeds)
}

fn update(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let output = site.run_with(&[&["db", "update"], arguments].concat());
    let code = output.status.code();
    let [out, err] = site::texts(output);
    assert_eq!(out, "");
    (code, err)
}

fn releases(site: &Site) -> Vec<String> {
    let status = site.run(["db", "status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let releases = status["releases"].as_array().unwrap().iter();
    releases
        .map(|release| release["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Names in the directory of runs, which holds the downloads.
fn runs(site: &Site) -> usize {
    let runs = site.path("home/.cache/karat/runs");
    std::fs::read_dir(runs).map_or(0, Iterator::count)
}

#[test]
fn an_update_fetches_what_has_changed() {
    let (site, feeds) = site();
    assert_eq!(update(&site, &[]).0, Some(0));
    let all = [
        "Alpine:v3.20",
        "AlmaLinux:9",
        "Debian:12",
        "Rocky Linux:9",
        "Ubuntu:24.04",
    ];
    let mut found = releases(&site);
    found.sort_by_key(|name| all.iter().position(|known| known == name));
    assert_eq!(found, all);
    assert_eq!(runs(&site), 0, "the downloads are gone");

    // Nothing has changed: short questions, and the same file.
    let before = std::fs::read(site.path("the.db")).unwrap();
    let from = feeds.web.asked().len();
    let (code, said) = update(&site, &[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("the.db is up to date"), "{said}");
    let (paths, conditional) = feeds.asked(from);
    assert_eq!((paths.len(), conditional), (6, true), "{paths:?}");
    assert_eq!(std::fs::read(site.path("the.db")).unwrap(), before);

    // One file has changed: all are imported again.
    feeds.set(Mode::Newer);
    let (code, said) = update(&site, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(releases(&site).len(), all.len());
    assert_ne!(std::fs::read(site.path("the.db")).unwrap(), before);
}

#[test]
fn the_distributions_of_the_database_are_updated() {
    let (site, feeds) = site();
    assert_eq!(update(&site, &["debian"]).0, Some(0));
    assert_eq!(feeds.asked(0).0, ["/debian", "/debian-tracker"]);
    feeds.set(Mode::Newer);
    let from = feeds.web.asked().len();
    assert_eq!(update(&site, &[]).0, Some(0));
    let (paths, _) = feeds.asked(from);
    assert!(
        paths.iter().all(|path| path.starts_with("/debian")),
        "{paths:?}"
    );
    assert_eq!(releases(&site), ["Debian:12"]);
    // Another one is added by name.
    update(&site, &["rocky"]);
    assert_eq!(releases(&site), ["Debian:12", "Rocky Linux:9"]);
}

#[test]
fn records_of_other_sources_are_not_lost_in_silence() {
    let (site, _feeds) = site();
    site.write("own.json", &record("OWN-1", "Alpine:v3.20", "hello"));
    site.run(["db", "import", "own.json"]);
    let (code, said) = update(&site, &["debian"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(releases(&site), ["Alpine:v3.20", "Debian:12"]);
    assert!(said.contains("has no records from own.json"), "{said}");
}

#[test]
fn a_failed_update_leaves_the_database_as_it_was() {
    let (site, feeds) = site();
    update(&site, &["debian"]);
    let before = std::fs::read(site.path("the.db")).unwrap();
    // Each as if nothing were known about the old version.
    for (mode, parts) in [
        (Mode::Missing, ["1 source failed", "404 Not Found"]),
        (Mode::Garbage, ["cannot import", "/debian"]),
    ] {
        feeds.set(mode);
        std::fs::write(site.path("the.db"), "damaged").unwrap();
        let (code, said) = update(&site, &["debian"]);
        assert_eq!(code, Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(std::fs::read(site.path("the.db")).unwrap(), b"damaged");
        assert_eq!(runs(&site), 0);
        std::fs::write(site.path("the.db"), &before).unwrap();
    }
    for mode in [Mode::Redirect, Mode::CutOnce] {
        feeds.set(mode);
        std::fs::remove_file(site.path("the.db")).unwrap();
        let (code, said) = update(&site, &["debian"]);
        assert_eq!(code, Some(0), "{said}");
    }
}

#[test]
fn a_killed_update_leaves_the_database_as_it_was() {
    let (site, feeds) = site();
    update(&site, &["debian"]);
    let before = std::fs::read(site.path("the.db")).unwrap();
    for (name, is_clean) in [("KILL", false), ("INT", true)] {
        feeds.set(Mode::Hang);
        let from = feeds.web.asked().len();
        let mut child = site.spawn(site.command(&["db", "update", "debian", "ubuntu"]));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !feeds.asked(from).0.contains(&"/ubuntu".to_owned()) {
            assert!(Instant::now() < deadline, "{}", site.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(300));
        site::signal(&child, name, false);
        child.wait().unwrap();
        assert_eq!(
            std::fs::read(site.path("the.db")).unwrap(),
            before,
            "{name}"
        );
        assert_eq!(runs(&site) == 0, is_clean, "{name}");
        site.run(["prune", "--runs"]);
        assert_eq!(runs(&site), 0, "{name}");
    }
    feeds.set(Mode::Newer);
    assert_eq!(update(&site, &[]).0, Some(0));
}

#[test]
fn wrong_names_and_addresses_are_refused() {
    let (mut site, feeds) = site();
    for arguments in [
        &["debain"][..],
        &["--source", "debain=http://mirror.example.org"],
        &["--source", "debian=mirror.example.org"],
    ] {
        let (code, said) = update(&site, arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("debian-tracker") || said.contains("'debian'"),
            "{said}"
        );
    }
    site.set("KARAT_DB_SOURCES", "debian");
    let (code, said) = update(&site, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("invalid KARAT_DB_SOURCES"), "{said}");
    assert!(feeds.web.asked().is_empty());
}

#[test]
fn a_build_with_automatic_updates_has_a_database() {
    let (mut site, feeds) = site();
    // Without QEMU the build ends after the update.
    let path = site.path("bin");
    site.set("PATH", path);
    site.write("base.raw", &disk::xfs(7));
    let template = |policy: &str| {
        format!(
            "{IMAGE}[base.file]\npath = \"base.raw\"\n[builder.qemu]\narch = \"x86_64\"\n[policy]\n{policy}"
        )
    };
    let build = |policy: &str, arguments: &[&str]| {
        site.write("web.toml", &template(policy));
        let from = feeds.web.asked().len();
        let output = site.run_with(&[&["build", "web.toml"], arguments].concat());
        let [_, said] = site::texts(output);
        (feeds.web.asked().len() - from, said)
    };
    assert_eq!(build("", &[]).0, 0);
    assert_eq!(
        build("db = \"auto\"\n", &["--without", "vulnerabilities"]).0,
        0
    );
    let (requests, said) = build("db = \"auto\"\n", &[]);
    assert_eq!(requests, 6, "{said}");
    assert!(
        said.contains("updating the vulnerability database: it is missing"),
        "{said}"
    );
    assert!(site.path("the.db").exists());
    assert_eq!(build("db = \"auto\"\n", &[]).0, 0, "any age is allowed");
    let (requests, said) = build("db = \"auto\"\nmax_db_age = \"1d\"\n", &[]);
    assert_eq!(requests, 6, "{said}");
    assert!(said.contains("it is of 2026-01-02"), "{said}");
    // A failed update ends the build before it begins.
    std::fs::remove_file(site.path("the.db")).unwrap();
    feeds.set(Mode::Missing);
    let (_, said) = build("db = \"auto\"\n", &[]);
    assert!(
        said.contains("cannot update the vulnerability database"),
        "{said}"
    );
    assert!(!said.contains("is not installed"), "{said}");
}
