//! `karat run` and `karat ssh`: guests that are looked at, of recorded images and of builds that failed.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::site::{Site, guests_in};
use crate::support::boot_sector::{self, Act};
use crate::support::site::signal;

/// A guest that is emulated boots within this, also beside another one.
const BOOT_LIMIT: Duration = Duration::from_mins(8);
/// A run that is asked to stop has ten seconds for it.
const STOP_LIMIT: Duration = Duration::from_secs(10);

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{:?}\n{}{}",
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// Records a guest that prints a text, and then does one thing.
fn import_tiny(site: &Site, text: &str, act: Act) {
    boot_sector::write(&site.path("tiny.raw"), text, act);
    site.stdout([
        "import",
        "tiny.raw",
        "--name",
        "tiny",
        "--firmware",
        "bios",
        "--arch",
        "x86_64",
    ]);
}

fn wait_for(what: &str, limit: Duration, mut is_there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < limit, "{what}: not after {limit:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_console_is_attached_until_the_guest_powers_off() {
    let site = Site::new();
    import_tiny(&site, "hello from the disk\r\n", Act::PowerOff);
    // The image of the store, and the file.
    for image in ["tiny", "tiny.raw"] {
        let ran = site.karat(["run", image, "--console"]).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{image}: {}", said(&ran));
        let console = String::from_utf8_lossy(&ran.stdout);
        assert!(
            console.contains("hello from the disk\r\n"),
            "{image}: {}",
            said(&ran)
        );
        site.assert_nothing_left();
    }
}

#[test]
fn a_run_that_is_left_or_stopped_leaves_nothing() {
    let site = Site::new();
    import_tiny(&site, "up\r\n", Act::Hang);

    let mut command = site.karat(["run", "tiny", "--console"]);
    let mut left = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut console = left.stdout.take().unwrap();
    let mut seen = Vec::new();
    wait_for("the console", STOP_LIMIT * 3, || {
        let mut buffer = [0; 256];
        let length = console.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..length]);
        String::from_utf8_lossy(&seen).contains("up\r\n")
    });
    let mut keys = left.stdin.take().unwrap();
    keys.write_all(b"\x1d").unwrap();
    assert_eq!(left.wait().unwrap().code(), Some(0));
    site.assert_nothing_left();

    for (name, code) in [("TERM", Some(130)), ("INT", Some(130)), ("KILL", None)] {
        let mut run = site.spawn(["run", "tiny"]);
        wait_for("the guest", STOP_LIMIT * 3, || guests_in(&site.runs()) == 1);
        signal(&run, name, false);
        assert_eq!(run.wait().unwrap().code(), code, "{name}: {}", site.log());
        wait_for("the end of the guest", STOP_LIMIT, || {
            guests_in(&site.runs()) == 0
        });
        if name == "KILL" {
            let pruned = site.stdout(["prune", "--runs"]);
            assert_eq!(pruned.lines().count(), 1, "{pruned}");
        }
        site.assert_nothing_left();
    }
}

#[test]
fn what_cannot_run_is_refused_before_a_launch() {
    let site = Site::new();
    import_tiny(&site, "up\r\n", Act::Hang);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let forward = format!("{port}:80");
    let refuse = |arguments: &[&str], code, text: &str| {
        let mut command = site.karat(["run"]);
        let output = command.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(text), "{}", said(&output));
        site.assert_nothing_left();
    };
    refuse(&["tiny", "-p", &forward], 2, "cannot listen on port");
    refuse(&["tiny", "--memory", "4096GiB"], 1, "karat run --memory");
    site.stdout(["keys", "generate"]);
    site.stdout(["keys", "trust", "me", "config/karat/key.pub"]);
    site.stdout(["revoke", "tiny", "--reason", "backdoor"]);
    refuse(&["tiny"], 3, "backdoor");
}

/// Runs a command in the image of nginx, and looks at the guest meanwhile.
pub fn with_a_command_and_a_port(site: &Site, id: &str) {
    let port = free_port();
    let forward = format!("{port}:80");
    // Ends when the test says so.
    let script =
        "echo \"said by $(hostname)\"; while ! test -e /run/enough; do sleep 1; done; exit 7";
    let mut run = site
        .karat(["run", id, "-p", &forward, "--", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the login", BOOT_LIMIT, || {
        if let Some(status) = run.try_wait().unwrap() {
            let mut log = String::new();
            run.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("{status}: {log}");
        }
        let alive = site.karat(["ssh", "--", "true"]).output().unwrap();
        alive.status.success()
    });
    let mut page = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    page.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    page.read_to_string(&mut text).unwrap();
    assert!(text.contains("it is hello"), "{text}");

    let code = site
        .karat(["ssh", "web", "--", "exit", "5"])
        .output()
        .unwrap();
    assert_eq!(code.status.code(), Some(5), "{}", said(&code));
    site.stdout(["ssh", "--", "touch /run/enough"]);
    let ran = run.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(7), "{}", said(&ran));
    assert!(ran.stdout.starts_with(b"said by "), "{}", said(&ran));
    let none = site.karat(["ssh", "--", "true"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    site.assert_nothing_left();
}

const FAILING: &str = r#"
[image]
name = "failing"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1
disk_size = "4GiB"

[[test]]
name = "a test"
command = "touch /run/tested; false"
"#;

#[test]
fn the_guest_and_the_image_of_a_failed_test_are_kept() {
    let site = Site::new();
    site.write("failing.toml", FAILING);
    let arguments = [
        "build",
        "failing.toml",
        "--on-error",
        "keep",
        "--keep-failed",
    ];
    let mut build = site.spawn(arguments);
    site.wait_for_phase(&mut build, "a test");
    wait_for("the advice", STOP_LIMIT * 3, || {
        site.log().contains("Ctrl-C ends the build")
    });
    let log = site.log();
    let line = log.lines().find(|line| line.starts_with("    ssh -F "));
    let line = line.unwrap_or_else(|| panic!("no command that can be copied: {log}"));
    let copied = Command::new("sh")
        .args(["-c", &format!("{line} test -e /run/tested")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(copied.status.success(), "{line}: {}", said(&copied));
    site.stdout(["ssh", "failing", "--", "test", "-e", "/run/tested"]);

    // A guest that is not the one of this build is not trusted.
    let config = line.split_whitespace().nth(2).unwrap();
    let known = std::path::Path::new(config).with_file_name("known_hosts");
    let keys = std::fs::read_to_string(&known).unwrap();
    std::fs::write(&known, keys.replace("[127.0.0.1]", "[127.0.0.2]")).unwrap();
    let refused = site.karat(["ssh", "--", "true"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(255), "{}", said(&refused));

    signal(&build, "INT", true);
    let asked = Instant::now();
    let status = build.wait().unwrap();
    assert!(asked.elapsed() < STOP_LIMIT, "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(1), "{}", site.log());
    assert_eq!(site.stdout(["list"]), "", "an image was recorded");
    site.assert_nothing_left();
    assert!(
        site.path("failing.failed.qcow2").is_file(),
        "{}",
        site.log()
    );
}
