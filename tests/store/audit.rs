//! The audit log: chained, counted by signed checkpoints, forwarded to a real rsyslog.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use karat::record::manifest::ManifestId;
use karat::scan::report::policy::Verdict;

use crate::cli::{Site, without_times};
use crate::trust::{code, said, scanned, succeed};

/// How long rsyslog may take to listen, or to write.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store with a signed and promoted image.
fn promoted() -> (Site, ManifestId) {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    let id = site.put("web", b"image");
    succeed(&site, &["sign", &id.short()]);
    scanned(&site, id, &[], &Verdict::Told);
    let reason = ["--reason", "it is \"green\"\nnow"];
    let promote = ["promote", &id.short(), "web/stable"];
    succeed(&site, &[&promote[..], &reason].concat());
    (site, id)
}

/// Without times and users, and with the host as a placeholder.
fn plain(text: &str) -> String {
    let host = rustix::system::uname();
    let text = text.replace(&*host.nodename().to_string_lossy(), "[HOST]");
    let words = without_times(&text);
    let words = words.split(' ').map(|word| match word {
        word if word.ends_with("@[HOST]") => "[WHO]@[HOST]",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_change_has_its_line() {
    let (site, id) = promoted();
    succeed(&site, &["pin", &id.short(), "--reason", "evidence"]);
    succeed(&site, &["unpin", &id.short()]);
    succeed(
        &site,
        &["attest", &id.short(), "--published", "s3://images/web"],
    );
    insta::assert_snapshot!("audit", plain(&said(&site, &["audit"])));
    let log = fs::read_to_string(site.store.audit_path()).unwrap();
    let printed = site.command(&["audit", "--json"]).output().unwrap().stdout;
    assert_eq!(String::from_utf8(printed).unwrap(), log);
    insta::assert_snapshot!("audit_verify", plain(&said(&site, &["audit", "verify"])));
    // A rerun that changes nothing adds nothing.
    succeed(&site, &["promote", &id.short(), "web/stable"]);
    succeed(&site, &["unpin", &id.short()]);
    assert_eq!(fs::read_to_string(site.store.audit_path()).unwrap(), log);
}

#[test]
fn a_log_that_was_cut_off_or_changed_is_found() {
    let (site, id) = promoted();
    let path = site.store.audit_path();
    let before = fs::read_to_string(&path).unwrap();
    let kept = site.command(&["audit", "checkpoint"]).output().unwrap();
    assert!(kept.status.success());
    fs::write(site.path().join("kept.json"), kept.stdout).unwrap();
    let lines: Vec<_> = before.split_inclusive('\n').collect();
    let broken = |text: &str, wanted: &str| {
        fs::write(&path, text).unwrap();
        for arguments in [
            &["audit", "verify"][..],
            &["verify"],
            &["verify", &id.short()],
        ] {
            let (code, error) = code(&site, arguments);
            assert!(
                code == 4 && error.contains(wanted),
                "{arguments:?}: {error}"
            );
        }
    };
    broken(&lines[..lines.len() - 1].concat(), "lines were cut off");
    broken("", "lines were cut off");
    broken(&lines[1..].concat(), "line 1 has the wrong number");
    broken(&before.replace("green", "grown"), "is not the line that");
    broken(&before.replacen("record", "remove", 1), "does not follow");
    let middle = [&lines[..1], &lines[2..]].concat().concat();
    broken(&middle, "line 2 has the wrong number");
    // Whoever takes the checkpoint away too is found by one that was kept elsewhere.
    fs::write(&path, lines[..2].concat()).unwrap();
    fs::remove_file(site.store.checkpoint_path()).unwrap();
    let verify = ["audit", "verify", "--checkpoint", "kept.json"];
    let (exit, error) = code(&site, &verify);
    assert!(exit == 4 && error.contains("lines were cut off"), "{error}");
    fs::write(&path, &before).unwrap();
    succeed(&site, &verify);
    // A channel that moved without a line.
    let channel = site.store.root().join("channels/web/stable.json");
    let moved_once = fs::read(&channel).unwrap();
    let other = site.put("web", b"other");
    succeed(&site, &["sign", &other.short()]);
    scanned(&site, other, &[], &Verdict::Told);
    let before = fs::read_to_string(&path).unwrap();
    let checkpoint = fs::read(site.store.checkpoint_path()).unwrap();
    succeed(&site, &["promote", &other.short(), "web/stable"]);
    fs::write(&path, &before).unwrap();
    fs::write(site.store.checkpoint_path(), &checkpoint).unwrap();
    let (exit, error) = code(&site, &["audit", "verify"]);
    let wanted = "web/stable: move 2 is not in the audit log";
    assert!(exit == 4 && error.contains(wanted), "{error}");
    fs::write(&channel, &moved_once).unwrap();
    succeed(&site, &["audit", "verify"]);
}

#[test]
fn half_a_line_is_taken_away_by_the_next_change() {
    let (site, id) = promoted();
    let path = site.store.audit_path();
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{before}{{\"schema\":\"kar")).unwrap();
    succeed(&site, &["audit", "verify"]);
    let listed = said(&site, &["audit"]);
    assert!(listed.contains("is incomplete"), "{listed}");
    succeed(&site, &["pin", &id.short()]);
    let after = fs::read_to_string(&path).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == before.lines().count() + 1);
    succeed(&site, &["audit", "verify"]);
    // A whole line that is none is not written over.
    fs::write(&path, format!("{before}{{}}\n")).unwrap();
    let (exit, error) = code(&site, &["pin", &id.short()]);
    assert!(
        exit == 4 && error.contains("is not a valid audit record"),
        "{error}"
    );
}

#[test]
fn processes_that_write_at_once_leave_a_whole_chain() {
    let (site, id) = promoted();
    let pins: Vec<Child> = (0..20)
        .map(|number| {
            let reason = format!("{number}");
            let mut command = site.command(&["pin", &id.short(), "--reason", &reason]);
            command.stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut pin in pins {
        assert!(pin.wait().unwrap().success());
    }
    succeed(&site, &["audit", "verify"]);
    assert_eq!(site.store.audit().unwrap().lines.len(), 4 + 20);
}

/// A rsyslogd that listens with TLS and writes what it gets; ended when dropped.
struct Rsyslog {
    process: Child,
    port: u16,
}

impl Rsyslog {
    fn start(directory: &Path) -> Option<Self> {
        let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"];
        let program = program.into_iter().find(|it| Path::new(it).exists())?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::new(names).unwrap();
        let certificate = certificate.self_signed(&made).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), made.serialize_pem()).unwrap();
        let at = directory.display();
        let text = format!(
            r#"global(workDirectory="{at}" defaultNetstreamDriver="gtls"
    defaultNetstreamDriverCAFile="{at}/cert.pem"
    defaultNetstreamDriverCertFile="{at}/cert.pem" defaultNetstreamDriverKeyFile="{at}/key.pem")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="parts" type="string"
    string="%syslogfacility%.%syslogseverity%|%hostname%|%app-name%|%msgid%|%msg%\n")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{at}/port")
action(type="omfile" file="{at}/log" template="parts")
"#
        );
        fs::write(directory.join("conf"), text).unwrap();
        // Ubuntu confines the program by its path, to files of the system.
        let copied = directory.join("rsyslogd");
        // By a child: a program that this process has written cannot be run while another thread forks.
        let copy = Command::new("cp").arg(program).arg(&copied).status();
        assert!(copy.unwrap().success());
        let process = Command::new(copied)
            .args(["-n", "-iNONE", "-f"])
            .arg(directory.join("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut rsyslog = Self { process, port: 0 };
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let text = fs::read_to_string(directory.join("port")).unwrap_or_default();
            if let Ok(port) = text.trim().parse()
                && TcpStream::connect(("127.0.0.1", port)).is_ok()
            {
                rsyslog.port = port;
                return Some(rsyslog);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("rsyslogd does not listen");
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_rsyslog_gets_every_line_once() {
    let (site, id) = promoted();
    let directory = site.path().join("rsyslog");
    fs::create_dir(&directory).unwrap();
    let Some(rsyslog) = Rsyslog::start(&directory) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "rsyslog is missing: `make setup-dev` installs it"
        );
        eprintln!("SKIPPED: there is no rsyslogd here; `make setup-dev` installs it");
        return;
    };
    let server = format!("127.0.0.1:{}", rsyslog.port);
    let ca = directory.join("cert.pem");
    let ca = ca.to_str().unwrap();
    let forward = ["--audit-syslog", &server, "--audit-syslog-ca", ca];
    let got = |count: usize| {
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(directory.join("log")).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter(|it| it.contains("|karat|")).collect();
            if lines.len() >= count || began.elapsed() > PATIENCE {
                let lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
                return lines;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // What was written before comes first.
    succeed(&site, &[&["pin", &id.short()][..], &forward].concat());
    let lines = got(5);
    let log = fs::read_to_string(site.store.audit_path()).unwrap();
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    for (line, written) in lines.iter().zip(log.lines()) {
        let parts: Vec<_> = line.splitn(5, '|').collect();
        assert_eq!(parts[..3], ["13.5", &host, "karat"], "{line}");
        let event = serde_json::from_str::<serde_json::Value>(written).unwrap();
        assert_eq!(parts[3], event["event"], "{line}");
        let text = parts[4].trim_start_matches([' ', '\u{feff}']);
        assert_eq!(text, written);
    }
    assert_eq!(lines.len(), 5);
    // Nothing twice.
    succeed(&site, &[&["audit"][..], &forward].concat());
    succeed(&site, &[&["unpin", &id.short()][..], &forward].concat());
    assert_eq!(got(6).len(), 6);

    // A server that proves nothing, or is not there, gets nothing; the change is made, and is sent later.
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let other = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&other);
    fs::write(directory.join("other.pem"), other.unwrap().pem()).unwrap();
    let wrong = directory.join("other.pem");
    let wrong = [
        "--audit-syslog",
        &server,
        "--audit-syslog-ca",
        wrong.to_str().unwrap(),
    ];
    let (exit, error) = code(&site, &[&["pin", &id.short()][..], &wrong].concat());
    assert!(
        exit == 0 && error.contains("cannot send to the syslog server"),
        "{error}"
    );
    let (exit, error) = code(&site, &[&["audit"][..], &wrong].concat());
    assert!(
        exit == 1 && error.contains("cannot send to the syslog server"),
        "{error}"
    );
    succeed(&site, &[&["audit"][..], &forward].concat());
    assert_eq!(got(7).len(), 7);
    drop(rsyslog);
    let (exit, error) = code(&site, &[&["unpin", &id.short()][..], &forward].concat());
    assert!(
        exit == 0 && error.contains("are sent with the next change"),
        "{error}"
    );
    let (exit, error) = code(&site, &["audit", "--audit-syslog", "a b"]);
    assert!(
        exit == 2 && error.contains("invalid syslog server"),
        "{error}"
    );
}
