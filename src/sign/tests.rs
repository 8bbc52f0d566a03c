//! Tests against the real ssh-keygen, in both directions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::trust::matches_list;
use super::*;
use crate::time::Timestamp;

const MESSAGE: &[u8] = b"{\"schema\":\"karat.manifest/1\"}";

fn keygen(directory: &Path, arguments: &[&str], input: &[u8]) -> std::process::Output {
    fs::write(directory.join("input"), input).unwrap();
    Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::from(
            fs::File::open(directory.join("input")).unwrap(),
        ))
        .output()
        .unwrap()
}

fn make(directory: &Path, name: &str, kind: &[&str]) {
    let arguments = [
        &["-q", "-N", "", "-C", "me@example.org", "-f", name, "-t"],
        kind,
    ]
    .concat();
    assert!(
        keygen(directory, &arguments, b"").status.success(),
        "{kind:?}"
    );
}

fn public(directory: &Path, name: &str) -> PublicKey {
    let text = fs::read_to_string(directory.join(format!("{name}.pub"))).unwrap();
    PublicKey::from_openssh(&text).unwrap()
}

#[tokio::test]
async fn ssh_keygen_and_karat_accept_each_others_signatures() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    for kind in [
        &["ed25519"][..],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
        &["rsa", "-b", "2048"],
    ] {
        let name = kind.join("");
        make(directory, &name, kind);
        let key = public(directory, &name);
        let signer = Signer::from_file(&directory.join(&name)).unwrap();
        assert!(matches!(signer, Signer::Key(_)), "{kind:?}");
        let made = signer.sign(MANIFEST, MESSAGE).await.unwrap();
        fs::write(directory.join("made.sig"), &made).unwrap();
        let entry = Trusted {
            principals: "me@example.org".to_owned(),
            namespaces: Some(NAMESPACES.to_owned()),
            valid_after: crate::sign::when::parse("20200101"),
            valid_before: None,
            key: key.clone(),
        };
        fs::write(directory.join("trusted"), entry.line().unwrap()).unwrap();
        let verify = format!("-Y verify -f trusted -I me@example.org -n {MANIFEST} -s made.sig");
        let verify: Vec<_> = verify.split(' ').collect();
        let output = keygen(directory, &verify, MESSAGE);
        assert!(output.status.success(), "{kind:?}: {output:?}");
        assert!(!keygen(directory, &verify, b"other").status.success());

        let sign = ["-Y", "sign", "-f", &name, "-n", MANIFEST];
        let made = keygen(directory, &sign, MESSAGE);
        assert!(made.status.success(), "{kind:?}");
        for armored in [made.stdout, fs::read(directory.join("made.sig")).unwrap()] {
            let signature = Signature::parse(&armored).unwrap();
            let by = signature.verify(MANIFEST, MESSAGE).unwrap();
            assert_eq!(by.key_data(), key.key_data(), "{kind:?}");
            let other = signature.verify(MANIFEST, b"other").unwrap_err();
            assert!(matches!(other, SignatureError::Wrong(_)), "{other}");
            let other = signature.verify("git", MESSAGE).unwrap_err();
            assert!(matches!(other, SignatureError::Namespace { .. }), "{other}");
        }
    }
}

#[test]
fn a_key_that_others_can_read_or_that_is_none_does_not_sign() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    make(directory, "key", &["ed25519"]);
    let path = directory.join("key");
    let locked = ["-q", "-p", "-P", "", "-N", "a passphrase", "-f", "key"];
    // A key with a passphrase is left to the agent.
    let agent = |path: &Path| matches!(Signer::from_file(path), Ok(Signer::Agent(_)));
    assert!(agent(&directory.join("key.pub")));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Signer::from_file(&path).unwrap_err();
    assert!(
        matches!(error, SignError::Open { mode: 0o640, .. }),
        "{error}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(keygen(directory, &locked, b"").status.success());
    assert!(agent(&path));
    fs::write(directory.join("text"), "no key\n").unwrap();
    let error = Signer::from_file(&directory.join("text")).unwrap_err();
    assert!(matches!(error, SignError::Form { .. }), "{error}");
    let error = Signer::from_file(&directory.join("missing")).unwrap_err();
    assert!(matches!(error, SignError::Read { .. }), "{error}");
}

#[test]
fn text_that_is_no_signature_is_refused() {
    for text in [
        &b""[..],
        b"x",
        b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n",
    ] {
        assert!(matches!(
            Signature::parse(text),
            Err(SignatureError::Form(_))
        ));
    }
    let large = vec![b'A'; LARGEST + 1];
    assert!(matches!(
        Signature::parse(&large),
        Err(SignatureError::TooLarge)
    ));
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_key_counts_for_whom_when_and_what_the_file_says() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path();
    make(directory, "key", &["ed25519"]);
    make(directory, "other", &["ed25519"]);
    let (key, other) = (public(directory, "key"), public(directory, "other"));
    let [text, other_text] = [&key, &other].map(|key| key.to_openssh().unwrap());
    let standing = |line: &str, revoked: &str, now: &str| {
        let [file, list] = ["trusted", "revoked"].map(|name| directory.join(name));
        fs::write(&file, line).unwrap();
        fs::write(&list, revoked).unwrap();
        let trust = Trust::read(&file, Some(&list)).unwrap();
        trust.standing(&key, MANIFEST, time(now))
    };
    let now = "2026-06-01T12:00:00Z";
    let trusted = |name: &str| Standing::Trusted(vec![name.to_owned()]);
    for (line, expected) in [
        (format!("me {text}\n"), trusted("me")),
        (format!("# c\n\n\"me too\" {text}\n"), trusted("me too")),
        (
            format!("me namespaces=\"git,karat-*\" {text} comment\n"),
            trusted("me"),
        ),
        (
            format!("me namespaces=\"file\" {text}\n"),
            Standing::Elsewhere("me".to_owned()),
        ),
        (
            format!("me namespaces=\"karat-*,!karat-manifest@v1\" {text}\n"),
            Standing::Elsewhere("me".to_owned()),
        ),
        (format!("me cert-authority {text}\n"), Standing::Unknown),
        (format!("me {other_text}\n"), Standing::Unknown),
        (String::new(), Standing::Unknown),
        (
            format!("me valid-after=\"20260601\",valid-before=\"20260602Z\" {text}\n"),
            trusted("me"),
        ),
        (
            format!("me valid-before=\"20260601Z\" {text}\n"),
            Standing::Expired("me".to_owned(), time("2026-06-01T00:00:00Z")),
        ),
        (
            format!("me valid-after=\"202606011300Z\" {text}\n"),
            Standing::NotYet("me".to_owned(), time("2026-06-01T13:00:00Z")),
        ),
        (
            format!("old valid-before=\"20250101Z\" {text}\nme {text}\n"),
            trusted("me"),
        ),
    ] {
        assert_eq!(standing(&line, "", now), expected, "{line}");
    }
    let line = format!("me {text}\n");
    for revoked in [
        text.clone(),
        fingerprint(&key),
        format!("# gone\n{} 2026\n", fingerprint(&key)),
    ] {
        assert_eq!(
            standing(&line, &revoked, now),
            Standing::Revoked,
            "{revoked}"
        );
    }
    assert_eq!(standing(&line, &other_text, now), trusted("me"));
    for (line, problem) in [
        ("me\n", "the line has no public key"),
        ("me ssh-ed25519 AAAA\n", "the line has no public key"),
        (
            &format!("me valid-before=\"soon\" {text}\n"),
            "\"soon\" is not a day or time",
        ),
        (
            &format!("me no-such=\"x\" {text}\n"),
            "unknown option \"no-such\"",
        ),
        (
            &format!("me namespaces=\"x {text}\n"),
            "the quotation mark is not closed",
        ),
    ] {
        let file = directory.join("trusted");
        fs::write(&file, format!("\n{line}")).unwrap();
        let error = Trust::read(&file, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{}:2: {problem}", file.display()),
            "{line}"
        );
    }
}

#[test]
fn patterns_match_as_those_of_openssh() {
    for (list, name, expected) in [
        ("me", "me", true),
        ("me", "you", false),
        ("you,me", "me", true),
        ("*@example.org", "me@example.org", true),
        ("*@example.org,!you@*", "you@example.org", false),
        ("!me,*", "me", false),
        ("!you", "me", false),
        ("m?", "me", true),
        ("m?", "m", false),
        ("*", "", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("", "me", false),
    ] {
        assert_eq!(matches_list(list, name), expected, "{list:?} and {name:?}");
    }
}
