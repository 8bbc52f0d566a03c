//! Attestations and revocations: signed statements, and what they forbid.

use std::fs;
use std::process::Stdio;

use data_encoding::BASE64;
use karat::record::manifest::ManifestId;
use karat::scan::report::policy::Verdict;
use serde_json::Value;

use crate::cli::{Site, without_times};
use crate::support::disk;
use crate::trust::{code, keygen, person, said, scanned, succeed};

/// Three signed and scanned images: a base, one that is built on it, one that is built on that.
fn family() -> (Site, [ManifestId; 3]) {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    let base = site.put("base", b"the base");
    let web = site.put_on("web", b"the web", b"the base");
    let shop = site.put_on("web", b"the web shop", b"the web");
    for id in [base, web, shop] {
        succeed(&site, &["sign", &id.short()]);
        scanned(&site, id, &[], &Verdict::Told);
    }
    (site, [base, web, shop])
}

fn plain(text: &str) -> String {
    let host = rustix::system::uname();
    let text = text.replace(
        &format!("@{}", host.nodename().to_string_lossy()),
        "@[HOST]",
    );
    without_times(&text)
}

#[test]
fn a_revoked_image_is_refused_everywhere() {
    let (site, [base, web, shop]) = family();
    let promote = |id: ManifestId| succeed(&site, &["promote", &id.short(), "web/stable"]);
    promote(web);
    promote(shop);
    insta::assert_snapshot!("children", said(&site, &["children", &base.short()]));
    insta::assert_snapshot!("parents", said(&site, &["parents", &shop.short()]));
    let revoke = [
        "revoke",
        &web.short(),
        "--reason",
        "backdoor in \u{1b}[31mxz",
    ];
    insta::assert_snapshot!("revoke", plain(&said(&site, &revoke)));
    insta::assert_snapshot!("revoke_again", plain(&said(&site, &revoke)));

    let refused = |arguments: &[&str]| {
        let (exit, error) = code(&site, arguments);
        assert!(
            exit == 3 && error.contains("was revoked by me@"),
            "{arguments:?}: {error}"
        );
        assert!(
            error.contains("backdoor in") && !error.contains('\u{1b}'),
            "{error}"
        );
    };
    let id = web.short();
    insta::assert_snapshot!(
        "revoked_export",
        plain(&said(&site, &["export", &id, "-o", "web.raw"]))
    );
    assert!(!site.path().join("web.raw").exists());
    refused(&["promote", &id, "web/testing"]);
    refused(&["rollback", &id]);
    refused(&["rollback", &id, "--check"]);
    // The last one before it that is not revoked: there is none.
    let (exit, error) = code(&site, &["rollback", "web/stable"]);
    assert!(exit == 2 && error.contains("no earlier image"), "{error}");
    let (exit, error) = code(&site, &["verify", &id]);
    assert!(exit == 4 && error.contains("was revoked by"), "{error}");
    succeed(&site, &["verify"]);
    insta::assert_snapshot!("revoked_list", said(&site, &["list"]));
    insta::assert_snapshot!("revoked_show", {
        let shown = plain(&said(&site, &["show", &id]));
        let lines = shown
            .lines()
            .skip_while(|line| !line.starts_with("scanned"));
        lines
            .filter(|line| !line.contains("blobs/"))
            .collect::<Vec<_>>()
            .join("\n")
    });
    // All the same, for who says so.
    succeed(&site, &["export", &id, "-o", "web.raw", "--allow-revoked"]);
    let force = ["--force", "--reason", "the other one is worse"];
    succeed(&site, &[&["rollback", &id][..], &force].concat());
    assert_eq!(site.store.lineage().unwrap().children(web).len(), 1);
}

#[test]
fn a_revocation_goes_down_when_it_is_told_to() {
    let (site, [base, web, shop]) = family();
    let revoke = [
        "revoke",
        &base.short(),
        "--reason",
        "CVE-2026-1",
        "--cascade",
        "--json",
    ];
    let output = site.command(&revoke).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    for id in [base, web, shop] {
        let revoked = site.store.revoked(id).unwrap().unwrap();
        assert_eq!(revoked.revocation.reason, "CVE-2026-1");
        assert_eq!(revoked.revocation.because_of, (id != base).then_some(base));
    }
    let (exit, error) = code(&site, &["revoke", &base.short(), "--reason", ""]);
    assert!(exit == 2, "{error}");
    fs::remove_file(site.path().join("config/karat/key")).unwrap();
    let (exit, error) = code(&site, &["revoke", &base.short(), "--reason", "x"]);
    assert!(
        exit == 2 && error.contains("cannot read the signing key"),
        "{error}"
    );
}

#[test]
fn statements_are_in_toto_in_dsse_and_ssh_keygen_accepts_their_signatures() {
    let (site, [_, web, _]) = family();
    let attest = [
        "attest",
        &web.short(),
        "--scan",
        "--provenance",
        "--published",
    ];
    succeed(
        &site,
        &[&attest[..], &["https://example.org/web.qcow2"]].concat(),
    );
    let kinds = [
        "https://slsa.dev/provenance/v1",
        "urn:karat:publication:1",
        "urn:karat:scan:1",
    ];
    let all = site.store.attestations_of(web).unwrap();
    let mut found: Vec<_> = all.iter().map(|it| it.statement.kind.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, kinds);
    for attestation in &all {
        // As somebody without karat reads it.
        let text = fs::read_to_string(&attestation.path).unwrap();
        let envelope: Value = serde_json::from_str(&text).unwrap();
        let decode = |text: &Value| BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap();
        let payload = decode(&envelope["payload"]);
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["subject"][0]["digest"]["sha256"], web.to_string());
        let kind = "application/vnd.in-toto+json";
        assert_eq!(envelope["payloadType"], kind);
        let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
        signed.extend(&payload);
        fs::write(site.path().join("signed"), &signed).unwrap();
        let signature = decode(&envelope["signatures"][0]["sig"]);
        fs::write(site.path().join("signed.sig"), signature).unwrap();
        let verify = [
            "-Y",
            "verify",
            "-f",
            "config/karat/allowed_signers",
            "-I",
            "ci",
            "-n",
            "karat-attestation@v1",
            "-s",
            "signed.sig",
        ];
        let input = Stdio::from(fs::File::open(site.path().join("signed")).unwrap());
        let output = keygen(&site, &verify, input);
        assert!(output.status.success(), "{output:?}");
    }
    let provenance = all.iter().find(|it| it.statement.kind == kinds[0]).unwrap();
    let predicate = &provenance.statement.predicate;
    let dependencies = &predicate["buildDefinition"]["resolvedDependencies"];
    let names = dependencies.as_array().unwrap().iter();
    let names: Vec<_> = names.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["template", "base"]);
    insta::assert_snapshot!("attested", said(&site, &["verify", &web.short()]));
    // One of somebody who is not trusted does not count, and does no harm.
    let other = ["-q", "-N", "", "-t", "ed25519", "-f", "stranger"];
    assert!(keygen(&site, &other, Stdio::null()).status.success());
    succeed(
        &site,
        &["attest", &web.short(), "--scan", "--key", "stranger"],
    );
    let (exit, error) = code(&site, &["verify", &web.short()]);
    // But the checkpoint of the log is the stranger's now.
    assert!(
        exit == 4 && error.contains("audit.checkpoint, signed by"),
        "{error}"
    );
    succeed(&site, &["audit", "checkpoint"]);
    let output = site
        .command(&["verify", &web.short(), "--json"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = report["attestations"].as_array().unwrap().iter();
    assert_eq!(counts.filter(|it| it["counts"] == true).count(), 3);
    // One about another image, or whose signature is another's.
    let [_, other, ..] = site.store.ids().unwrap()[..] else {
        panic!()
    };
    let other = if other == web {
        site.store.ids().unwrap()[0]
    } else {
        other
    };
    let directory = site.store.root().join(format!("attestations/{other}"));
    fs::create_dir_all(&directory).unwrap();
    let moved = directory.join(provenance.path.file_name().unwrap());
    fs::copy(&provenance.path, &moved).unwrap();
    let (exit, error) = code(&site, &["verify", &other.short()]);
    assert!(
        exit == 4 && error.contains("it is about another manifest"),
        "{error}"
    );
}

#[test]
fn a_channel_can_ask_for_approvals() {
    let (site, [_, web, _]) = family();
    for name in ["ada", "bob", "eve"] {
        person(&site, name, &[]);
    }
    let policy = site.store.root().join("channels/web/stable.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let approvers = "approvers = [\"ada\", \"bob\", \"eve\"]\n";
    fs::write(&policy, format!("approvals = 4\n{approvers}")).unwrap();
    let promote = ["promote", &web.short(), "web/stable"];
    let (exit, error) = code(&site, &promote);
    assert!(
        exit == 2 && error.contains("is greater than the number"),
        "{error}"
    );
    fs::write(&policy, format!("approvals = 2\n{approvers}")).unwrap();
    insta::assert_snapshot!("unapproved", said(&site, &promote));
    succeed(&site, &["sign", &web.short(), "--key", "ada"]);
    // The same person once more.
    succeed(&site, &["sign", &web.short(), "--key", "ada"]);
    let (exit, error) = code(&site, &promote);
    assert!(
        exit == 4 && error.contains("1 of 2 required approvals"),
        "{error}"
    );
    succeed(&site, &["sign", &web.short(), "--key", "eve"]);
    succeed(&site, &promote);
}

#[test]
fn nothing_is_built_on_a_revoked_image() {
    let site = Site::new();
    succeed(&site, &["keys", "generate"]);
    let image = disk::xfs(7);
    fs::write(site.path().join("base.raw"), &image).unwrap();
    let id = site.put("base", &image);
    succeed(&site, &["revoke", &id.short(), "--reason", "backdoor"]);
    let template = "[image]\nname = \"web\"\n[base.file]\npath = \"base.raw\"\n[builder.qemu]\n";
    fs::write(site.path().join("web.toml"), template).unwrap();
    let mut command = site.command(&["build", "web.toml"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("KARAT_CACHE", site.path().join("cache"));
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(
        error.contains("was revoked by me@") && error.contains("--allow-revoked"),
        "{error}"
    );
    assert!(!error.contains("launch"), "{error}");
}
