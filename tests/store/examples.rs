//! The examples in the help: every line runs as it stands there.

use std::fs;
use std::path::Path;
use std::process::Command;

use karat::scan::report::policy::Verdict;

use crate::cli::Site;
use crate::support::disk;
use crate::support::site::texts;
use crate::trust::{person, scanned, succeed};

/// Verbs whose examples need no guest, package archive or AWS.
const RUNNABLE: [&str; 27] = [
    "init",
    "validate",
    "plan",
    "schema",
    "list",
    "show",
    "diff",
    "sign",
    "attest",
    "verify",
    "promote",
    "rollback",
    "history",
    "export",
    "import",
    "pin",
    "unpin",
    "prune",
    "store status",
    "audit",
    "audit checkpoint",
    "audit verify",
    "keys list",
    "keys trust",
    "keys revoke",
    "version",
    "man",
];

const EXPLANATION: &str =
    "{\"by\":\"`[[files]]`\",\"cause\":\"declared\",\"path\":\"/etc/nginx/nginx.conf\"}\n";

/// A site with everything that the examples name.
fn site() -> Site {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    person(&site, "ada", &[]);
    let disk = disk::xfs(1);
    fs::write(site.path().join("disk.qcow2"), &disk).unwrap();
    for length in [disk.len(), disk.len() - 512] {
        let (image, scratch) = (&disk[..length], site.path());
        let id = super::put_explained(&site.store, scratch, "web", image, EXPLANATION);
        succeed(&site, &["sign", &id.short()]);
        succeed(&site, &["sign", &id.short(), "--key", "ada"]);
        scanned(&site, id, &[], &Verdict::Told);
        for channel in ["web/testing", "web/stable"] {
            succeed(&site, &["promote", &id.short(), channel]);
        }
    }
    for name in ["web", "mail"] {
        let text = format!("[image]\nname = \"{name}\"\n");
        fs::write(site.path().join(format!("{name}.toml")), text).unwrap();
    }
    run(
        &site,
        "karat import web --from data/karat --store other-store",
    );
    run(&site, "karat export web -o web.qcow2");
    site
}

/// Runs a line in a shell, which must succeed.
fn run(site: &Site, line: &str) {
    let binary = Path::new(env!("CARGO_BIN_EXE_karat")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(site.path())
        .env_clear()
        .env("HOME", site.path())
        .env("PATH", format!("{}:{path}", binary.display()));
    for (name, value) in site.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.output().unwrap();
    let succeeded = output.status.success();
    assert!(succeeded, "{line}: {}", texts(output).concat());
}

/// Returns the lines below `Examples:` in the help of a verb.
fn examples(site: &Site, verb: &str) -> Vec<String> {
    let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
    let help = site.command(&words).output().unwrap();
    let [help, _] = texts(help);
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_examples_of_the_help_run() {
    let site = site();
    for verb in RUNNABLE {
        let lines = examples(&site, verb);
        assert!(!lines.is_empty(), "{verb}");
        for line in lines {
            // An id stands for that of any image, and a pager shows a page to people only.
            if line.contains("3aaf264e1bdf") || line.contains(" | man ") {
                continue;
            }
            // Of the first exports' targets one exists, which `export` does not replace.
            let _ = fs::remove_file(site.path().join("web.qcow2"));
            if verb == "verify" {
                run(&site, "karat export web -o web.qcow2");
            }
            run(&site, &line);
        }
    }
    for verb in ["keys", "keys generate"] {
        let fresh = Site::new();
        fs::copy(site.path().join("ada.pub"), fresh.path().join("ada.pub")).unwrap();
        for line in examples(&fresh, verb) {
            run(&fresh, &line);
        }
    }
}
