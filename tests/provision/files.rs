//! `[[files]]`, the `file` and `download` steps, and the list of packages.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use karat::digest::Digest;
use karat::machine::Machine;
use karat::plan::{Action, Download, Place, Upload, UploadSource};
use karat::provision::{self, Context, ProvisionError};
use karat::secret::{Secrets, Text, TextPart};

use crate::machine::{TestMachine, context, other, told};

fn upload(source: UploadSource, destination: impl Into<String>) -> Upload {
    Upload {
        source,
        destination: destination.into(),
        mode: None,
        owner: "root:root".to_owned(),
        place: Place::default(),
    }
}

#[tokio::test]
async fn files_of_every_source_arrive() {
    let mut machine = TestMachine::new().await;
    let (cached, text) = (
        machine.write("cached", "downloaded"),
        machine.write("text", "a path"),
    );
    let digest = Digest::of(b"downloaded");
    let to = |name: &str| machine.path(name).display().to_string();
    let url = "https://example.org/pkg/tool%201.tgz?x=1".to_owned();
    let mut secrets = Secrets::default();
    secrets.insert("token".to_owned(), "s3cret".to_owned().into());
    let secret = Text::new(vec![
        TextPart::Literal("token=".to_owned()),
        TextPart::Secret("token".to_owned()),
    ]);
    let mut private = upload(UploadSource::Content(secret), to("deep/er/private"));
    private.mode = Some(0o600);
    let files = [
        private,
        upload(UploadSource::Path(text), to("copied")),
        upload(
            UploadSource::Url {
                url,
                sha256: digest,
            },
            to("into/"),
        ),
    ];
    let variables = BTreeMap::new();
    let fetched = |asked: &Digest| {
        assert_eq!(*asked, digest);
        cached.clone()
    };
    let cx = Context {
        epoch: None,
        fetched: &fetched,
        ..context(&variables, &secrets)
    };
    provision::files(&mut machine, &files, &cx).await.unwrap();
    for (name, text, mode) in [
        ("deep/er/private", "token=s3cret", 0o600),
        ("copied", "a path", 0o644),
        ("into/tool 1.tgz", "downloaded", 0o644),
    ] {
        assert_eq!(machine.read(name), text, "{name}");
        assert_eq!(
            fs::metadata(machine.path(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777,
            mode,
            "{name}"
        );
    }
}

#[tokio::test]
async fn content_needs_a_file_name() {
    let mut machine = TestMachine::new().await;
    let upload = upload(UploadSource::Content(Text::literal("x")), "/tmp/dir/");
    let said = told(
        &machine
            .run(&other("file", Action::File(upload)))
            .await
            .unwrap_err(),
    );
    assert!(said.contains("`content` has no file name"), "{said}");
}

#[tokio::test]
async fn downloads_land_under_their_own_names_or_the_given_one() {
    let mut machine = TestMachine::new().await;
    let sources: Vec<_> = ["a one", "two"]
        .iter()
        .map(|name| machine.write(name, name).display().to_string())
        .collect();
    let download = |sources: &[String], to: &str| {
        let destination = machine.path(to);
        other(
            "download",
            Action::Download(Download {
                sources: sources.to_vec(),
                destination,
            }),
        )
    };
    let steps = [
        download(&sources, "several"),
        download(&sources[..1], "deep/renamed"),
        download(&sources[..1], "with-slash/"),
        download(&sources[1..], "several"),
    ];
    for step in &steps {
        machine.run(step).await.unwrap();
    }
    for (name, text) in [
        ("several/a one", "a one"),
        ("several/two", "two"),
        ("deep/renamed", "a one"),
        ("with-slash/a one", "a one"),
    ] {
        assert_eq!(machine.read(name), text, "{name}");
    }
    let missing = other(
        "download",
        Action::Download(Download {
            sources: vec!["/no/such".to_owned()],
            destination: machine.path("none"),
        }),
    );
    assert!(matches!(
        machine.run(&missing).await,
        Err(ProvisionError::Step { .. })
    ));
    assert!(!machine.path("none").exists());
}

#[tokio::test]
async fn the_installed_packages_are_those_of_dpkg() {
    let machine = TestMachine::new().await;
    let packages = provision::installed_packages(machine.session())
        .await
        .unwrap();
    let version = machine
        .session()
        .output("dpkg-query -W -f '${Version}' dpkg")
        .await
        .unwrap();
    assert!(
        packages
            .iter()
            .any(|package| package.name == "dpkg" && package.version == version)
    );
    assert!(packages.is_sorted());
    machine.fake(
        "dpkg-query",
        "#!/bin/sh\nprintf 'installed\\tonly\\t1\\tall\\n'",
    );
    let packages = provision::installed_packages(machine.session())
        .await
        .unwrap();
    assert_eq!(packages.len(), 1);
    assert!(provision::DeclaredPackages::read(None).unwrap().is_none());
}
