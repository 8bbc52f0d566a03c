use super::*;
use crate::record::lock::Manager;

fn declared() -> DeclaredPackages {
    let repository = Repository {
        name: "tools".to_owned(),
        uri: "https://example.org/rpm/".to_owned(),
        suites: vec![],
        components: vec![],
        key: Some(b"-----BEGIN PGP".to_vec()),
        trusted: false,
        keep: true,
    };
    DeclaredPackages {
        repositories: vec![repository],
        ..DeclaredPackages::declaring(Manager::Dnf, &["hello"], &[])
    }
}

fn survey(repository: &str) -> String {
    format!("Last metadata\n\u{1e}machine {{}}\n\u{1e}repository {repository}\n")
}

#[test]
fn only_repositories_with_an_address_and_a_signed_index_are_used() {
    for (repository, expected) in [
        (
            r#"{"name":"own","uris":["https://example.org/a/"],"mirrors":"","signed":true}"#,
            Ok(2),
        ),
        (
            r#"{"name":"tools","uris":[],"mirrors":"https://example.org/list","signed":false}"#,
            Ok(1),
        ),
        (
            r#"{"name":"own","uris":[],"mirrors":"https://example.org/list","signed":true}"#,
            Err(
                "the host cannot fetch from the machine's package source https://example.org/list (repository own)",
            ),
        ),
        (
            r#"{"name":"own","uris":["file:///srv"],"mirrors":"","signed":true}"#,
            Err(
                "the host cannot fetch from the machine's package source file:///srv (repository own)",
            ),
        ),
        (
            r#"{"name":"own","uris":["http://example.org"],"mirrors":"","signed":false}"#,
            Err(
                "the package source http://example.org (repository own) is trusted without a signature (`repo_gpgcheck=0`)",
            ),
        ),
    ] {
        let sources = Dnf.sources(&survey(repository), &declared(), "/d");
        let found = sources.map(|sources| sources.upstreams.len());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{repository}");
    }
    let error = Dnf.sources("karat: the machine has no dnf\n", &declared(), "/d");
    assert_eq!(error.err().unwrap().to_string(), "the machine has no dnf");
}

#[test]
fn an_answer_is_taken_as_it_is_or_refused() {
    let package = r#"package {"name":"hello","version":"1:2-3","architecture":"noarch","declared":true,
        "archive":"https://example.org/rpm","path":"Packages/h/hello.rpm","size":9,"algorithm":"sha256","digest":"HEX"}"#;
    let package = package.replace("HEX", &Digest::of(b"hello").hex());
    let index = format!(
        r#"archive {{"uri":"https://example.org/rpm","in_release":"{}","date":1700000000,"signed_by":["AB"]}}"#,
        Digest::of(b"index")
    );
    let sources = Dnf.sources("", &declared(), "/d").unwrap();
    let resolve = |package: String| {
        let lines = [
            index.clone(),
            package,
            r#"removal {"name":"old","version":"1-1"}"#.to_owned(),
        ];
        Dnf.resolution(&lines, &sources, &declared())
    };
    let resolution = resolve(package.clone()).unwrap();
    let locked = &resolution.packages[0];
    assert_eq!(locked.url(), "https://example.org/rpm/Packages/h/hello.rpm");
    assert_eq!(
        (locked.version.as_str(), locked.reason),
        ("1:2-3", InstallReason::Declared)
    );
    assert_eq!(
        resolution.archives[0].date.to_string(),
        "2023-11-14T22:13:20Z"
    );
    assert_eq!(resolution.removals[0].name, "old");
    for (from, to, said) in [
        (
            "example.org/rpm",
            "example.org/other",
            "hello is not in any declared",
        ),
        (
            "Packages/h",
            "../h",
            "cannot parse the package manager's output: ../h",
        ),
        ("sha256", "sha1", "has no SHA-256 digest of hello"),
        (
            "noarch",
            "noarch\",\"odd\":\"x",
            "cannot parse the package manager's output: package {",
        ),
    ] {
        let error = resolve(package.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn what_stays_in_the_image_checks_signatures() {
    let kept = Dnf.kept(&declared());
    let names: Vec<_> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "/etc/pki/rpm-gpg/RPM-GPG-KEY-tools",
            "/etc/yum.repos.d/tools.repo"
        ]
    );
    assert_eq!(
        String::from_utf8_lossy(&kept[1].1),
        "[tools]\nname=tools\nbaseurl=https://example.org/rpm/\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\n\
         gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-tools\n"
    );
}

#[test]
fn an_error_says_what_to_do() {
    for (code, line, said) in [
        (
            71,
            "karat: Failed to download metadata",
            "reading the package repositories failed",
        ),
        (
            73,
            "karat: unknown hello jq=2",
            "dnf does not know these packages: hello, jq=2",
        ),
        (73, "karat: nothing provides x", "dnf failed"),
        (
            75,
            "karat: a would not be installed",
            "the installed packages differ from the declared ones: a would not be installed",
        ),
        (
            77,
            "karat: the machine has no dnf",
            "the machine has no dnf",
        ),
        (1, "", "the package operation failed"),
    ] {
        let ended = Ended {
            code: Some(code),
            line: None,
            output: None,
        };
        assert_eq!(Dnf.error(&[line.to_owned()], ended).to_string(), said);
    }
}
