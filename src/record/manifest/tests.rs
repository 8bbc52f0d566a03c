//! Manifests that are written, read back and refused.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Returns a manifest with a value of each kind. Another `text` gives another manifest.
pub(crate) fn example(name: &str, text: &str, image: &[u8]) -> Manifest {
    let file = File {
        destination: "/etc/motd".to_owned(),
        digest: Digest::of(text.as_bytes()),
        mode: Some("0644".to_owned()),
        owner: "root:root".to_owned(),
    };
    let steps = vec![
        Action::Shell {
            script: Digest::of(b"true\n"),
            environment: BTreeMap::from([("GREETING".to_owned(), text.to_owned())]),
            working_directory: None,
            user: "root".to_owned(),
            exit_codes: vec![0],
        },
        Action::File(file.clone()),
        Action::Download {
            sources: vec!["/etc/os-release".to_owned()],
        },
        Action::Reboot {},
        Action::Pause { milliseconds: 250 },
    ];
    let name_step = |action| Step {
        name: "step".to_owned(),
        action,
        creates: vec![text.into()],
    };
    let inputs = Inputs {
        image: Name {
            name: name.to_owned(),
            description: text.to_owned(),
        },
        template: Template {
            digest: Digest::of(text.as_bytes()),
            text: text.to_owned(),
        },
        variables: BTreeMap::from([("motd".to_owned(), text.to_owned())]),
        secrets: BTreeMap::from([("token".to_owned(), SecretKind::Env)]),
        base: Base {
            kind: BaseKind::Bootstrap,
            digest: Digest::of(b"base"),
            size: 4,
            format: "qcow2".to_owned(),
            url: None,
            distribution: Some("debian".to_owned()),
            suite: Some("bookworm".to_owned()),
            region: None,
            ami: None,
            snapshot: None,
        },
        packages: Packages {
            apt: Some(DeclaredPackages {
                install: vec!["nginx-light".to_owned()],
                remove: vec![],
                recommends: false,
                repositories: vec![],
                accept: vec![],
            }),
            dnf: None,
        },
        lock: Some(Lock {
            digest: Digest::of(b"lock"),
        }),
        files: vec![file],
        steps: steps.into_iter().map(name_step).collect(),
        sources: BTreeMap::from([(
            "files/motd".to_owned(),
            Source {
                digest: Digest::of(text.as_bytes()),
                kind: SourceKind::Executable,
            },
        )]),
        finish: Some(FinishInputs {
            rebuild: true,
            drop: vec!["/srv/cache/*".to_owned()],
            keep: Vec::new(),
        }),
        network: Network {
            open: true,
            allow: Vec::new(),
            requests: Vec::new(),
        },
        hermetic: false,
    };
    let outputs = Outputs {
        arch: "x86_64".to_owned(),
        firmware: "bios".to_owned(),
        image: Image {
            format: "qcow2".to_owned(),
            digest: Digest::of(image),
            size: image.len() as u64,
            virtual_size: 4 << 30,
            disk: Some(Digest::of(b"disk")),
        },
        tree: Some(Tree {
            digest: Digest::of(b"tree"),
            listing: Digest::of(b"listing"),
        }),
        explanation: None,
        finish: Some(Finish {
            reproducible: false,
            because: Some("its root is not ext4".to_owned()),
            rules: Some(Digest::of(b"rules")),
            cleaned: BTreeMap::from([("logs".to_owned(), 3)]),
        }),
        packages: vec![Package {
            name: "nginx-light".to_owned(),
            version: "1.22.1-9+deb12u3".to_owned(),
            arch: "amd64".to_owned(),
            origin: Origin::Declared,
            sha256: Some(Digest::of(b"nginx-light")),
        }],
    };
    Manifest::new(inputs, outputs)
}

#[test]
fn python_finds_the_same_id() {
    let text = "tab\t quote\" back\\ bell\u{7} del\u{7f} é 漢字 😀\r\n\u{2028}";
    let bytes = example("web", text, b"image").to_bytes().unwrap();
    let program = "import hashlib, json, sys\n\
        value = json.load(sys.stdin.buffer)\n\
        text = json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False)\n\
        print(hashlib.sha256(text.encode()).hexdigest())";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = python.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        ManifestId::of(&bytes).to_string()
    );
}

#[test]
fn anything_but_the_canonical_form_is_refused() {
    let bytes = example("web", "text", b"image").to_bytes().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(Manifest::from_bytes(text.as_bytes()).is_ok());
    let hermetic = r#""hermetic":false"#;
    let schema = r#""schema":"karat.manifest/1""#;
    for (from, to, error) in [
        (hermetic, r#""hermetic": false"#, "canonical"),
        (
            hermetic,
            r#""hermetic":false,"hermetic":false"#,
            "not a manifest",
        ),
        (
            hermetic,
            r#""hermetic":false,"host":"me""#,
            "not a manifest",
        ),
        (hermetic, r#""hermetic":null"#, "not a manifest"),
        (
            r#""motd":"text""#,
            r#""motd":"x","motd":"text""#,
            "canonical",
        ),
        (r#""motd":"text""#, r#""motd":"\u0074ext""#, "canonical"),
        (
            r#""reboot":{}"#,
            r#""reboot":{"now":true}"#,
            "not a manifest",
        ),
        (r#""size":4"#, r#""size":4.0"#, "not a manifest"),
        (
            r#""size":4"#,
            r#""size":9007199254740992"#,
            "cannot be recorded",
        ),
        (r#""name":"web""#, r#""name":"../web""#, "image name"),
        (schema, r#""schema":"karat.manifest/2""#, "karat.manifest/2"),
        (schema, "", "not a manifest"),
        ("{", "[", "not a manifest"),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        let refused = Manifest::from_bytes(changed.as_bytes()).unwrap_err();
        assert!(refused.to_string().contains(error), "{to}: {refused}");
    }
    assert!(Manifest::from_bytes(format!("{text}\n").as_bytes()).is_err());
}

proptest! {
    #[test]
    fn a_written_manifest_reads_back(text in any::<String>(), image in any::<Vec<u8>>()) {
        let manifest = example("web", &text, &image);
        let bytes = manifest.to_bytes().unwrap();
        prop_assert_eq!(Manifest::from_bytes(&bytes).unwrap(), manifest);
    }
}
