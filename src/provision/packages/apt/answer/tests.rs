use super::*;

const HEX: &str = "8ef1715ff5a9764fb5f810116acee417f4e092032212b6e4f392e8d2cd6b0952";

fn upstream(uri: &str, suite: &str) -> Upstream {
    Upstream {
        uri: uri.to_owned(),
        suite: suite.to_owned(),
        components: vec!["main".to_owned()],
    }
}

fn answer() -> Vec<String> {
    let release = |file: &str, date: &str| format!("release {HEX} {file} {date}");
    let uri = |url: &str, file: &str| format!("uri '{url}' {file} 115544 SHA256:{HEX}");
    vec![
        release("example.org_debian_dists_bookworm_InRelease", "Sat, 10 Jan 2026 10:00:00 UTC"),
        release("example.org_debian-security_dists_bookworm-security_InRelease", "Sun, 11 Jan 2026 10:00:00 UTC"),
        "signed GPGVOutput:%20GOODSIG%206ED0E7B82643E131%0aSigned-By:%2004B54C%0a%204CB501!%0a%20B8E5F1!%0aFilename:%20/var/tmp/karat-1/lists/partial/example.org_debian_dists_bookworm_InRelease%0aURI:%20gpgv:/x".to_owned(),
        "plan Purg exim4 [4.96-15]".to_owned(),
        "plan Inst nginx-common (1.22.1-9+deb12u2 Debian-Security:12/stable-security [all])".to_owned(),
        "plan Inst libecho [1:0.62-1] (1:0.63-4 Debian:12.15/oldstable, Other:1/x [amd64]) [nginx:amd64 ]".to_owned(),
        uri("http://example.org/debian-security/pool/n/nginx-common_1.22.1-9%2bdeb12u2_all.deb", "nginx-common_1.22.1-9+deb12u2_all.deb"),
        uri("http://example.org/debian/pool/l/libecho_0.63-4_amd64.deb", "libecho_1%3a0.63-4_amd64.deb"),
        "unneeded Remv libold [1.0]".to_owned(),
        "also Purg exim4 [4.96-15]".to_owned(),
        "also Purg libold [1.0]".to_owned(),
        "also Purg exim4-base [4.96-15]".to_owned(),
    ]
}

fn upstreams() -> [Upstream; 2] {
    [
        upstream("https://example.org/debian", "bookworm"),
        upstream("http://example.org/debian-security", "bookworm-security"),
    ]
}

fn resolution(lines: &[String]) -> Result<Resolution, PackageError> {
    read(
        lines,
        &upstreams(),
        &["nginx-common=1.22.1-9+deb12u2".to_owned()],
    )
}

#[test]
fn an_answer_becomes_a_resolution() {
    let resolution = resolution(&answer()).unwrap();
    let [common, echo] = &resolution.packages[..] else {
        panic!("{resolution:?}")
    };
    assert_eq!(common.version, "1.22.1-9+deb12u2");
    assert_eq!(common.architecture, "all");
    assert_eq!(common.reason, InstallReason::Declared);
    assert_eq!(common.archive, "http://example.org/debian-security");
    assert_eq!(common.path, "pool/n/nginx-common_1.22.1-9+deb12u2_all.deb");
    assert_eq!((common.size, common.sha256.hex().as_str()), (115_544, HEX));
    assert_eq!(
        (echo.name.as_str(), echo.version.as_str()),
        ("libecho", "1:0.63-4")
    );
    assert_eq!(echo.reason, InstallReason::Dependency);
    assert_eq!(
        echo.archive, "https://example.org/debian",
        "as it was declared"
    );
    let gone: Vec<_> = resolution
        .removals
        .iter()
        .map(|removal| removal.name.as_str())
        .collect();
    assert_eq!(
        gone,
        ["exim4", "exim4-base"],
        "what was unneeded before stays"
    );
    let [debian, security] = &resolution.archives[..] else {
        panic!("{resolution:?}")
    };
    assert_eq!(debian.signed_by, ["4CB501", "B8E5F1"]);
    assert_eq!(debian.date.to_string(), "2026-01-10T10:00:00Z");
    assert_eq!(security.suite, "bookworm-security");
}

#[test]
fn an_answer_that_is_incomplete_is_refused() {
    for (from, to, said) in [
        ("SHA256:", "MD5Sum:", "has no SHA-256"),
        (
            "'http://example.org/debian/",
            "'http://example.org/other/",
            "is not in any declared",
        ),
        ("libecho_1%3a", "libecho_2%3a", "gave no file for it"),
        (
            "dists_bookworm_InRelease Sat",
            "dists_sid_InRelease Sat",
            "read no index of bookworm",
        ),
        ("Sat, 10 Jan 2026 10:00:00 UTC", "yesterday", "has no date"),
        (
            "(1:0.63-4 Debian",
            "1:0.63-4 Debian",
            "cannot parse the package manager's output",
        ),
        (
            "exim4 [4.96-15]",
            "exim4",
            "cannot parse the package manager's output",
        ),
    ] {
        let lines = answer()
            .iter()
            .map(|line| line.replacen(from, to, 1))
            .collect::<Vec<_>>();
        let error = resolution(&lines).unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

#[test]
fn lists_have_the_names_that_apt_gives_them() {
    for (uri, suite, file) in [
        (
            "https://example.org/debian",
            "bookworm",
            "example.org_debian_dists_bookworm_InRelease",
        ),
        (
            "http://example.org:8080/a_b",
            "x/y",
            "example.org:8080_a%5fb_dists_x_y_InRelease",
        ),
        (
            "http://example.org/flat",
            "./",
            "example.org_flat_._InRelease",
        ),
        (
            "http://example.org/~me",
            "sub/",
            "example.org_%7eme_sub_InRelease",
        ),
    ] {
        assert_eq!(list_file(uri, suite, "InRelease"), file);
    }
}
