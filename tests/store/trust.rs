//! Keys, signatures and proofs: the real binary against the real ssh-keygen and ssh-agent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use karat::digest::Digest;
use karat::record::manifest::ManifestId;
use karat::scan::report::policy::{Judged, Kind, Verdict};
use karat::scan::report::sbom;
use karat::scan::report::{Report, Subject};
use karat::scan::run::Contents;
use karat::scan::{Finding, Severity};
use serde_json::Value;

use crate::cli::Site;

/// The output of a run, with fingerprints of keys and ids as placeholders.
pub fn said(site: &Site, arguments: &[&str]) -> String {
    let text = site.karat(arguments);
    let mut parts = text.split("SHA256:");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        let is_digit = |it: &u8| it.is_ascii_alphanumeric() || b"+/".contains(it);
        match part.bytes().take_while(is_digit).count() {
            43 => text + "[KEY]" + &part[43..],
            _ => text + "SHA256:" + part,
        }
    })
}

pub fn code(site: &Site, arguments: &[&str]) -> (i32, String) {
    let output = site.command(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), error)
}

pub fn succeed(site: &Site, arguments: &[&str]) {
    let (code, error) = code(site, arguments);
    assert_eq!(code, 0, "{arguments:?}: {error}");
}

pub fn keygen(site: &Site, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new("ssh-keygen");
    command
        .args(arguments)
        .current_dir(site.path())
        .stdin(input);
    command.output().unwrap()
}

/// A key of ssh-keygen's, whose signatures count as those of its own name.
pub fn person(site: &Site, name: &str, more: &[&str]) {
    let make = ["-q", "-N", "", "-t", "ed25519", "-f", name];
    assert!(keygen(site, &make, Stdio::null()).status.success());
    let public = format!("{name}.pub");
    succeed(site, &[&["keys", "trust", name, &public], more].concat());
}

/// A store with an image that this machine's key has signed, and that counts.
fn signed() -> (Site, ManifestId) {
    let site = Site::new();
    let id = site.put("web", b"image");
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    succeed(&site, &["sign", &id.to_string()]);
    (site, id)
}

/// Puts a scan beside a manifest that found these vulnerabilities.
pub fn scanned(site: &Site, id: ManifestId, found: &[&str], verdict: &Verdict) {
    let findings = found.iter().map(|cve| Judged {
        kind: Kind::Vulnerability,
        finding: Finding::new("vulnerability", *cve, Severity::High, *cve),
        verdict: verdict.clone(),
    });
    let report = Report {
        subject: Subject::default(),
        checks: Vec::new(),
        left_out: Vec::new(),
        database: None,
        packages: 0,
        findings: findings.collect(),
    };
    let about = sbom::Subject {
        name: "web".to_owned(),
        digest: None,
        created: "2026-01-31T12:00:00Z".parse().unwrap(),
    };
    runtime().block_on(async {
        let writing = site.store.begin().await.unwrap();
        let contents = Contents::default();
        writing.add_scan(id, &about, &contents, &report).unwrap();
    });
}

pub fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn an_image_is_signed_and_verified_and_ssh_keygen_agrees() {
    let (site, id) = signed();
    let short = id.short();
    let key = site.path().join("config/karat/key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let verified = said(&site, &["verify", &short]);
    insta::assert_snapshot!("verified", verified);
    insta::assert_snapshot!("verified_store", said(&site, &["verify"]));
    insta::assert_snapshot!("keys", said(&site, &["keys", "list"]));
    let shown = said(&site, &["show", &short]);
    assert!(shown.contains("signed by    [KEY]"), "{shown}");

    let root = site.store.root();
    let signature = files(&root.join("signatures")).remove(0);
    let manifest = root.join(format!("manifests/{id}.json"));
    let verify = [
        "-Y",
        "verify",
        "-f",
        "config/karat/allowed_signers",
        "-I",
        "ci",
        "-n",
        "karat-manifest@v1",
        "-s",
        signature.to_str().unwrap(),
    ];
    let input = || Stdio::from(fs::File::open(&manifest).unwrap());
    let output = keygen(&site, &verify, input());
    assert!(output.status.success(), "{output:?}");

    // The other way round, far from any store.
    fs::copy(&manifest, site.path().join("web.json")).unwrap();
    let unsigned = code(&site, &["verify", "web.json"]);
    assert!(
        unsigned.0 == 4
            && unsigned
                .1
                .contains("0 of 1 required signatures from trusted keys"),
        "{unsigned:?}"
    );
    let sign = [
        "-Y",
        "sign",
        "-f",
        "config/karat/key",
        "-n",
        "karat-manifest@v1",
        "web.json",
    ];
    assert!(keygen(&site, &sign, Stdio::null()).status.success());
    succeed(&site, &["verify", "web.json", "--by", "ci"]);
}

#[test]
fn one_flipped_byte_in_any_file_is_found_and_named() {
    let (site, id) = signed();
    scanned(&site, id, &[], &Verdict::Told);
    succeed(&site, &["promote", &id.short(), "web/stable"]);
    let other = site.put("web", b"young image");
    let old = site.put("web", b"old");
    succeed(&site, &["attest", &id.short(), "--scan", "--provenance"]);
    succeed(&site, &["pin", &id.short()]);
    let prune = ["prune", "--keep", "1", "--keep-within", "0s"];
    succeed(&site, &prune);
    runtime().block_on(async {
        let writing = site.store.begin().await.unwrap();
        writing.keep_forwarded("log.example.org:6514", 3).unwrap();
    });
    assert_eq!(site.store.tombstones().unwrap().images.len(), 1);
    for id in [other, old] {
        succeed(&site, &["sign", &id.short()]);
    }
    succeed(&site, &["verify"]);
    succeed(&site, &["verify", &id.short()]);
    let mut kinds = Vec::new();
    for path in files(site.store.root()) {
        let bytes = fs::read(&path).unwrap();
        if bytes.is_empty() {
            continue; // the lock
        }
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(&path, &flipped).unwrap();
            let below = path.strip_prefix(site.store.root()).unwrap();
            for arguments in [
                &["verify"][..],
                &["verify", &id.short()],
                &["verify", "--unsigned"],
            ] {
                // A channel is no part of the image.
                let is_of_image = !below.starts_with("channels")
                    && [other, old]
                        .iter()
                        .all(|id| !below.to_str().unwrap().contains(&id.to_string()))
                    && [&b"young image"[..], b"old"]
                        .iter()
                        .all(|it| path != site.store.blob(&Digest::of(it)));
                if !is_of_image && arguments.len() > 1 && arguments[1] != "--unsigned" {
                    continue;
                }
                let (code, error) = code(&site, arguments);
                assert_eq!(code, 4, "{arguments:?}, {}: {error}", path.display());
                assert!(error.contains(path.to_str().unwrap()), "{error}");
            }
        }
        fs::write(&path, &bytes).unwrap();
        let below = path.strip_prefix(site.store.root()).unwrap();
        kinds.push(below.components().next().unwrap().as_os_str().to_owned());
    }
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "attestations",
            "audit.checkpoint",
            "audit.forwarded",
            "audit.jsonl",
            "blobs",
            "channels",
            "manifests",
            "pins",
            "records",
            "scans",
            "signatures",
            "tombstones.json"
        ]
    );
    succeed(&site, &["verify"]);
}

#[test]
fn what_is_missing_or_does_not_belong_there_is_named() {
    let (site, id) = signed();
    let root = site.store.root().to_owned();
    let image = site.store.blob(&Digest::of(b"image"));
    let aside = site.path().join("aside");
    fs::rename(&image, &aside).unwrap();
    insta::assert_snapshot!("without_image", said(&site, &["verify", &id.short()]));
    assert_eq!(code(&site, &["verify"]).0, 4);
    fs::rename(&aside, &image).unwrap();
    for stranger in [
        "blobs/sha256/notes",
        "manifests/notes.json",
        "signatures/notes",
        "records/x",
    ] {
        let path = root.join(stranger);
        fs::write(&path, "x").unwrap();
        let (code, error) = code(&site, &["verify"]);
        assert!(
            code == 4 && error.contains("does not belong to the store"),
            "{stranger}: {error}"
        );
        fs::remove_file(path).unwrap();
    }
    succeed(&site, &["verify"]);
}

#[test]
fn signatures_count_for_whom_and_how_many_were_asked_for() {
    let (site, id) = signed();
    let id = id.to_string();
    person(&site, "alice", &[]);
    person(&site, "bob", &["--valid-before", "20200101"]);
    let two = ["verify", &id, "--require", "2"];
    insta::assert_snapshot!("one_of_two", said(&site, &two));
    succeed(&site, &["sign", &id, "--key", "bob"]);
    insta::assert_snapshot!("expired", said(&site, &two));
    succeed(&site, &["sign", &id, "--key", "alice"]);
    succeed(&site, &two);
    // The same key twice is one signer.
    succeed(&site, &["sign", &id, "--key", "alice"]);
    assert_eq!(code(&site, &["verify", &id, "--require", "3"]).0, 4);
    succeed(&site, &["verify", &id, "--by", "alice", "--by", "ci"]);
    let (exit, error) = code(&site, &["verify", &id, "--by", "bob"]);
    assert!(exit == 4 && error.contains("not signed by bob"), "{error}");

    let json = site.command(&["verify", &id, "--json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let counts = json["signatures"].as_array().unwrap().iter();
    let counts = counts.filter(|it| it["counts"] == true).count();
    assert_eq!((json["ok"].as_bool(), counts), (Some(true), 2), "{json}");

    succeed(&site, &["keys", "revoke", "alice.pub"]);
    let (exit, error) = code(&site, &two);
    assert!(exit == 4 && error.contains("the key is revoked"), "{error}");
    insta::assert_snapshot!("keys_of_all", said(&site, &["keys", "list"]));
    let elsewhere = ["verify", &id, "--trust", "other"];
    fs::write(site.path().join("other"), "").unwrap();
    let (exit, error) = code(&site, &elsewhere);
    assert!(
        exit == 4 && error.contains("the key is not trusted"),
        "{error}"
    );
}

#[test]
fn a_signature_of_something_else_does_not_count() {
    let (site, id) = signed();
    let other = site.put("other", b"other");
    let root = site.store.root();
    let signature = files(&root.join("signatures")).remove(0);
    let directory = root.join(format!("signatures/{other}"));
    fs::create_dir(&directory).unwrap();
    fs::copy(&signature, directory.join(signature.file_name().unwrap())).unwrap();
    let (exit, error) = code(&site, &["verify", &other.to_string()]);
    assert!(
        exit == 4 && error.contains("it is not a signature of these bytes"),
        "{error}"
    );
    succeed(&site, &["verify", &id.to_string()]);
    // Of the same bytes, for another purpose.
    let manifest = root.join(format!("manifests/{other}.json"));
    fs::copy(manifest, site.path().join("other.json")).unwrap();
    let sign = [
        "-Y",
        "sign",
        "-f",
        "config/karat/key",
        "-n",
        "file",
        "other.json",
    ];
    assert!(keygen(&site, &sign, Stdio::null()).status.success());
    let (exit, error) = code(&site, &["verify", "other.json"]);
    assert!(
        exit == 4 && error.contains("it was made for \"file\""),
        "{error}"
    );
}

#[test]
fn an_image_file_is_traced_to_its_manifest() {
    let (site, id) = signed();
    fs::write(site.path().join("web.qcow2"), b"image").unwrap();
    let verified = said(&site, &["verify", "web.qcow2"]);
    assert!(verified.contains(&id.to_string()), "{verified}");
    fs::write(site.path().join("web.qcow2"), b"imagf").unwrap();
    insta::assert_snapshot!("foreign_image", said(&site, &["verify", "web.qcow2"]));
}

#[test]
fn mistakes_with_keys_and_proofs_are_explained() {
    let site = Site::new();
    let id = site.put("web", b"image").short();
    fs::write(site.path().join("text"), "no key\n").unwrap();
    fs::write(site.path().join("bad"), "ci\n").unwrap();
    let texts = [
        said(&site, &["verify", &id]),
        said(&site, &["verify", "web.qcow2", "--unsigned"]),
        said(&site, &["verify", &id, "--trust", "bad"]),
        said(&site, &["sign", &id]),
        said(&site, &["sign", &id, "--key", "text"]),
        said(&site, &["keys", "trust", "a b", "text"]),
        said(&site, &["keys", "trust", "ci", "text"]),
        said(&site, &["keys", "revoke", "SHA256:short"]),
        said(&site, &["keys", "list"]),
    ];
    insta::assert_snapshot!("mistakes", texts.join("\n"));
    succeed(&site, &["keys", "generate"]);
    let again = said(&site, &["keys", "generate"]);
    assert!(again.starts_with("exit code: 2"), "{again}");
    let key = site.path().join("config/karat/key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = said(&site, &["sign", &id]);
    assert!(
        open.contains("other users can read the signing key"),
        "{open}"
    );
    assert!(
        !site.store.root().join("signatures").exists(),
        "nothing was signed"
    );
}

/// An agent that ends with the test.
struct Agent(Child, PathBuf);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_agent_signs_with_a_key_that_no_file_gives_away() {
    let (site, id) = signed();
    person(&site, "carol", &[]);
    let socket = site.path().join("agent");
    let child = Command::new("ssh-agent")
        .args(["-D", "-a", socket.to_str().unwrap()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let agent = Agent(child, socket);
    while !agent.1.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let sign = || {
        let mut command = site.command(&["sign", &id.to_string(), "--key", "carol.pub"]);
        command.env("SSH_AUTH_SOCK", &agent.1).output().unwrap()
    };
    let refused = sign();
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && error.contains("ssh-add"),
        "{error}"
    );
    let added = Command::new("ssh-add")
        .args(["-q", "carol"])
        .current_dir(site.path())
        .env("SSH_AUTH_SOCK", &agent.1)
        .status()
        .unwrap();
    assert!(added.success());
    fs::remove_file(site.path().join("carol")).unwrap();
    let signed = sign();
    assert!(signed.status.success(), "{signed:?}");
    succeed(&site, &["verify", &id.to_string(), "--by", "carol"]);
}

#[test]
fn the_first_key_is_trusted_on_this_machine_and_no_other() {
    let signers =
        |site: &Site| fs::read_to_string(site.path().join("config/karat/allowed_signers"));
    let site = Site::new();
    let id = site.put("web", b"image").short();
    let (_, notes) = code(&site, &["keys", "generate", "--comment", "night, build"]);
    insta::assert_snapshot!("generated", site.hide_root(&notes));
    succeed(&site, &["sign", &id]);
    succeed(&site, &["verify", &id, "--by", "night--build"]);
    // A second key is trusted only when someone says so.
    let before = signers(&site).unwrap();
    let second = said(&site, &["keys", "generate", "--key", "second"]);
    assert!(
        second.contains("on every machine that verifies"),
        "{second}"
    );
    assert_eq!(signers(&site).unwrap(), before);

    // Trust that is managed elsewhere is left alone, and so is a file that cannot be read as one.
    let mut site = Site::new();
    site.set("KARAT_TRUST", "managed");
    succeed(&site, &["keys", "generate"]);
    assert!(signers(&site).is_err() && !site.path().join("managed").exists());
    let site = Site::new();
    site.write("config/karat/allowed_signers", "what is this\n");
    succeed(&site, &["keys", "generate"]);
    assert_eq!(signers(&site).unwrap(), "what is this\n");
    // Comments only: nobody is trusted yet.
    let site = Site::new();
    site.write("config/karat/allowed_signers", "# signers\n");
    succeed(&site, &["keys", "generate"]);
    assert!(signers(&site).unwrap().starts_with("# signers\nme@"));
}

#[test]
fn an_unusable_list_of_keys_is_the_one_that_the_advice_is_about() {
    let (site, _) = signed();
    site.write("wrong", "neither name nor key\n");
    fs::create_dir(site.path().join("directory")).unwrap();
    for file in ["missing", "directory", "wrong"] {
        for verb in [&["verify", "web"][..], &["keys", "list"]] {
            let (exit, error) = code(&site, &[verb, &["--revoked", file]].concat());
            assert_eq!(exit, 2, "{verb:?} {file}: {error}");
            let help = error.split_once("help: ").unwrap().1;
            assert!(help.contains("karat keys revoke"), "{file}: {error}");
            assert!(
                !help.contains("--trust") && !help.contains("--unsigned"),
                "{error}"
            );
        }
        let (_, error) = code(&site, &["verify", "web", "--trust", file]);
        assert!(!error.contains("revoke"), "{file}: {error}");
    }
}
