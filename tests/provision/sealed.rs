//! Steps of a sealed machine: what programs really say when they ask for what is not allowed, and that they get what is.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use karat::digest::Digest;
use karat::network::{EgressProxy, ProxyPurpose, UrlRule, UrlRules};
use karat::provision::ProvisionError;
use karat::ui::Ui;

use crate::machine::{TestMachine, shell, told};

const TOOL: &[u8] = b"#!/bin/sh\necho the tool ran\n";

/// Something a program of this machine asks for, as its user would write it; what it says itself, if the sentence is not in it.
const PROGRAMS: [(&str, &str, &str); 8] = [
    ("curl", "curl -sS http://a.example.org/x.sh | sh", "exit code 1"),
    ("curl", "curl -fsSL https://a.example.org/x.sh | sh", ""),
    (
        "curl",
        "CURL_CA_BUNDLE=/dev/null curl -sS https://a.example.org/",
        "exit code",
    ),
    ("wget", "wget -O- https://a.example.org/x.sh", "does not allow"),
    (
        "git",
        "git clone https://a.example.org/x.git \"$D/clone\"",
        "403",
    ),
    (
        "pip",
        "PIP_CONFIG_FILE=/dev/null pip download --no-deps -i https://a.example.org/simple -d \"$D\" x",
        "",
    ),
    (
        "npm",
        "cd \"$D\"; npm pack --registry https://a.example.org/npm --userconfig /dev/null x",
        "does not allow",
    ),
    (
        "cargo",
        "mkdir -p \"$D/c/src\"; cd \"$D/c\"; touch src/lib.rs; export CARGO_HOME=\"$D/home\"
         printf '[package]\\nname=\"c\"\\nversion=\"0.1.0\"\\n[dependencies]\\nx={version=\"1\",registry=\"r\"}\\n' > Cargo.toml
         CARGO_REGISTRIES_R_INDEX=sparse+https://a.example.org/index/ cargo fetch",
        "does not allow",
    ),
];

async fn sealed(allow: &[(&str, Option<(Digest, PathBuf)>)], strict: bool) -> TestMachine {
    let mut machine = TestMachine::new().await;
    let rules = allow.iter().map(|(url, file)| {
        let rule = UrlRule::new(url, "network.allow[0]").unwrap();
        match file {
            Some((digest, path)) => rule.from_file(*digest, path.clone()),
            None => rule,
        }
    });
    let rules = UrlRules::new(rules.collect(), ProxyPurpose::Steps("web.toml".to_owned()));
    let seal = EgressProxy::new(rules, strict, &Ui::default()).unwrap();
    machine.seal_with(seal).await;
    machine
}

fn is_installed(program: &str) -> bool {
    let found = std::process::Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.unwrap().status.success()
}

#[tokio::test]
async fn programs_that_ask_for_more_fail_soon_and_the_step_says_what_would_allow_it() {
    let mut machine = sealed(&[], true).await;
    // What this machine's own shims and settings need.
    let path = std::env::var("PATH").unwrap();
    let home = std::env::var("HOME").unwrap();
    for (program, command, says) in PROGRAMS {
        if !is_installed(program) {
            // Not by a macro, whose lines a test that passes does not show.
            let line =
                format!("SKIPPED: what {program} says was not tried; it is not installed here");
            writeln!(std::io::stderr(), "{line}").unwrap();
            continue;
        }
        let rustup = "export RUSTUP_HOME=${RUSTUP_HOME:-$KARAT_TEST_HOME/.rustup}";
        let setting = format!("KARAT_TEST_HOME={home}; {rustup}; export PATH=\"{path}\"");
        let step = machine.shell(&format!("{setting}\n{command}"));
        let error = machine.run(&step).await.unwrap_err();
        let text = told(&error);
        for part in [
            "web.toml does not allow http",
            "://a.example.org/",
            "`allow = [{ url = ",
            "[[files]]",
            says,
        ] {
            assert!(text.contains(part), "{program}: {part:?} is not in\n{text}");
        }
        assert!(!text.contains("timed out"), "{program} waited:\n{text}");
    }
}

#[tokio::test]
async fn what_is_allowed_by_its_digest_comes_by_https_with_nothing_on_the_disk() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("tool");
    std::fs::write(&file, TOOL).unwrap();
    let url = "https://a.example.org/tool.sh";
    let mut machine = sealed(&[(url, Some((Digest::of(TOOL), file)))], true).await;
    let step = machine.shell(&format!(
        "curl -fsS {url} | sh >\"$D/out\"
         case $SSL_CERT_FILE in /run/*) ;; *) exit 9 ;; esac
         echo \"$SSL_CERT_FILE\" >\"$D/where\""
    ));
    machine.run(&step).await.unwrap();
    assert_eq!(machine.read("out"), "the tool ran\n");
    let mut other = machine.shell(&format!("curl -fsS {url} >/dev/null"));
    shell(&mut other).user = "nobody".to_owned();
    machine.run(&other).await.unwrap();
    let certificate = machine.read("where");
    assert!(
        !std::path::Path::new(certificate.trim()).exists(),
        "it is gone with the step"
    );
    let served = machine.egress().served();
    let got: Vec<_> = served
        .iter()
        .map(|one| (one.url.as_str(), one.content.unwrap().sha256))
        .collect();
    assert_eq!(got, [(url, Digest::of(TOOL)); 2]);
}

#[tokio::test]
async fn a_tunnel_to_anything_but_https_is_refused() {
    let mut machine = sealed(&[], true).await;
    let step = machine.shell("curl -sS --proxytunnel http://a.example.org:22/");
    let text = told(&machine.run(&step).await.unwrap_err());
    assert!(text.contains("allow https://a.example.org:22/;"), "{text}");
    assert!(text.contains("403"), "{text}");
}

#[tokio::test]
async fn a_step_that_hides_the_failure_fails_unless_a_warning_is_enough() {
    for strict in [true, false] {
        let mut machine = sealed(&[], strict).await;
        let step = machine.shell("curl -sf http://a.example.org/extra || true");
        let result = machine.run(&step).await;
        assert_eq!(result.is_err(), strict, "{result:?}");
        let test = karat::plan::Test {
            name: "cannot get out".to_owned(),
            command: "! curl -sf http://a.example.org/extra".to_owned(),
            timeout: Duration::from_mins(1),
            place: karat::plan::Place::default(),
        };
        machine.test(&test).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_is_not_tried_again_and_does_not_hide_how_the_script_ended() {
    let mut machine = sealed(&[], true).await;
    let mut step = machine.shell("echo x >>\"$D/tries\"; curl -fsS http://a.example.org/; exit 7");
    step.retries = 3;
    let error = machine.run(&step).await.unwrap_err();
    let text = told(&error);
    assert!(
        text.contains("the script failed with exit code 22"),
        "{text}"
    );
    assert_eq!(machine.read("tries"), "x\n");
    let ProvisionError::Step { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*source, ProvisionError::Refused { .. }));
}

#[tokio::test]
async fn it_is_served_on_after_the_connection_dropped() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("tool");
    std::fs::write(&file, TOOL).unwrap();
    let url = "http://a.example.org/tool.sh";
    let mut machine = sealed(&[(url, Some((Digest::of(TOOL), file)))], true).await;
    let step = machine.shell(&format!("curl -fsS {url} >\"$D/out\""));
    machine.run(&step).await.unwrap();
    machine.drop_line().await;
    std::fs::remove_file(machine.path("out")).unwrap();
    machine.run(&step).await.unwrap();
    assert_eq!(machine.read("out").as_bytes(), TOOL);
    assert_eq!(machine.egress().served().len(), 2);
}
