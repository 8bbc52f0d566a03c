//! The proxy, used by real programs through a real sshd.

use std::process::Output;
use std::time::Duration;

use karat::digest::Digest;
use karat::network::{Proxy, ProxyPurpose, ServedBody, ServedRequest, UrlRule, UrlRules};
use karat::ssh::{Session, SshError};
use karat::ui::Ui;
use tokio::process::Command;

use crate::support::sshd::Sshd;
use crate::support::web::{Web, serve};
use crate::{chain, login};

fn web<const N: usize>(files: [(&str, &[u8]); N]) -> Web {
    Web::on("127.0.0.1", "http", files, |stream, files, log| {
        serve(stream, files, log)
    })
}

fn rules(urls: &[&str]) -> UrlRules {
    let rule = |url: &&str| UrlRule::new(url, "network.allow[0]").unwrap();
    UrlRules::new(
        urls.iter().map(rule).collect(),
        ProxyPurpose::Steps("web.toml".to_owned()),
    )
}

async fn proxy(session: &Session, rules: &UrlRules) -> Proxy {
    Proxy::serve(session, rules, &Ui::default()).await.unwrap()
}

/// Runs curl with nothing of this machine's own settings.
async fn curl(proxy: &Proxy, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["-q", "-sS", "--max-time", "30", "--noproxy", "", "-x"])
        .arg(proxy.guest_url())
        .args(arguments)
        .output()
        .await
        .unwrap()
}

fn served(url: String, status: u16, content: Option<&[u8]>) -> ServedRequest {
    ServedRequest {
        url,
        status,
        content: content.map(|bytes| ServedBody {
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
        }),
        rule: "network.allow[0]".to_owned(),
    }
}

#[tokio::test]
async fn what_is_allowed_passes_unchanged_and_is_logged_with_its_digest() {
    let large: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let web = web([
        ("/a/small", b"small\n"),
        ("/a/empty", b""),
        ("/a/large", &large),
        ("/a/moved", b"-> /elsewhere"),
        ("/elsewhere", b"here\n"),
    ]);
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let proxy = proxy(&session, &rules(&[&web.url("/a/")])).await;
    let cases: [(&str, &[u8]); 4] = [
        ("/a/small", b"small\n"),
        ("/a/empty", b""),
        ("/a/large", &large),
        ("/a/moved", b"here\n"),
    ];
    for (path, expected) in cases {
        // A range would make the digest that of a part; the whole is a correct answer, too.
        let output = curl(&proxy, &["-r", "0-1", "--compressed", &web.url(path)]).await;
        assert!(output.status.success(), "{path}: {output:?}");
        assert!(output.stdout == expected, "{path}: other bytes came");
    }
    let gone = curl(&proxy, &[&web.url("/a/missing")]).await;
    assert_eq!(gone.stdout, b"there is no such file\n");
    let head = curl(&proxy, &["-I", &web.url("/a/small")]).await;
    let head = String::from_utf8_lossy(&head.stdout).to_ascii_lowercase();
    assert!(head.contains("content-length: 6"), "{head}");

    let mut expected: Vec<ServedRequest> = cases
        .iter()
        .map(|(path, bytes)| served(web.url(path), 200, Some(bytes)))
        .collect();
    let missing: &[u8] = b"there is no such file\n";
    expected.push(served(web.url("/a/missing"), 404, Some(missing)));
    expected.push(served(web.url("/a/small"), 200, None));
    assert_eq!(proxy.served(), expected);
    assert_eq!(proxy.refused(), [""; 0]);
    let asked = web.asked().concat().to_ascii_lowercase();
    assert!(
        !asked.contains("range:") && !asked.contains("gzip"),
        "{asked}"
    );
}

#[tokio::test]
async fn anything_else_is_refused_with_the_line_that_would_allow_it() {
    let web = web([("/a/small", b"small\n"), ("/b", b"b\n")]);
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let proxy = proxy(&session, &rules(&[&web.url("/a/")])).await;
    let allow = format!("`allow = [{{ url = \"{}\" }}]`", web.url("/b"));
    let post = web.url("/a/small");
    for (arguments, expected) in [
        (vec![web.url("/b")], allow.as_str()),
        (
            vec!["-d".to_owned(), "x=y".to_owned(), post],
            "`open = true`",
        ),
    ] {
        let mut words = vec!["-i"];
        words.extend(arguments.iter().map(String::as_str));
        let output = curl(&proxy, &words).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (status, rest) = text.split_once("\r\n").unwrap();
        assert!(status.starts_with("HTTP/1.1 403 karat: "), "{text}");
        assert!(status.contains(expected), "{text}");
        let body = rest.split_once("\r\n\r\n").unwrap().1;
        assert!(body.contains(expected), "{text}");
    }
    assert_eq!(proxy.refused().len(), 2);
    assert_eq!(proxy.served(), []);
    assert_eq!(web.asked(), [""; 0], "nothing of it reached the server");
}

#[tokio::test]
async fn a_file_whose_digest_is_known_is_served_from_the_cache() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let path = sshd.directory().join("cached");
    std::fs::write(&path, "cached\n").unwrap();
    let url = "http://a.example.org/tool";
    let digest = Digest::of(b"cached\n");
    let rule = UrlRule::new(url, "network.allow[0]").unwrap();
    let rules = UrlRules::new(
        vec![rule.from_file(digest, path)],
        ProxyPurpose::Steps("web.toml".to_owned()),
    );
    let proxy = proxy(&session, &rules).await;
    assert_eq!(curl(&proxy, &[url]).await.stdout, b"cached\n");
    let expected = served(url.to_owned(), 200, Some(b"cached\n"));
    assert_eq!(proxy.served(), [expected]);
}

#[tokio::test]
async fn what_a_program_did_not_take_to_its_end_is_logged_without_a_digest() {
    let web = web([("/large", &vec![b'x'; 40_000_000])]);
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let url = web.url("/large");
    let proxy = proxy(&session, &rules(&[&url])).await;
    let command = format!(
        "curl -q -s --noproxy '' -x {} {url} | head -c 10",
        proxy.guest_url()
    );
    let output = Command::new("sh").args(["-c", &command]).output().await;
    assert_eq!(output.unwrap().stdout, b"xxxxxxxxxx");
    let logged = async {
        while proxy.served().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), logged)
        .await
        .expect("the log has it");
    assert_eq!(proxy.served(), [served(url, 200, None)]);
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_at_once() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let url = format!("http://127.0.0.1:{}/x", crate::support::sshd::free_port());
    let proxy = proxy(&session, &rules(&[&url])).await;
    let output = curl(&proxy, &["-i", &url]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("HTTP/1.1 502 karat: cannot fetch http://"),
        "{text}"
    );
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn apt_reads_its_lists_through_it() {
    let packages: &[u8] = b"Package: one\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
        Filename: ./one.deb\nSize: 4\nSHA256: 7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730\n\n";
    let release = format!(
        "Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n {} {} Packages\n",
        Digest::of(packages).hex(),
        packages.len()
    );
    let web = web([
        ("/apt/Release", release.as_bytes()),
        ("/apt/Packages", packages),
    ]);
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let proxy = proxy(&session, &rules(&[&web.url("/apt/")])).await;
    let place = sshd.directory();
    for directory in ["lists/partial", "cache/partial", "none"] {
        std::fs::create_dir_all(place.join(directory)).unwrap();
    }
    let list = format!("deb [trusted=yes] {} ./\n", web.url("/apt"));
    std::fs::write(place.join("sources.list"), list).unwrap();
    let place = place.display();
    let output = Command::new("apt-get")
        .env("APT_CONFIG", "/dev/null")
        .args(["-o", &format!("Acquire::http::Proxy={}", proxy.guest_url())])
        .args(["-o", &format!("Dir::Etc::SourceList={place}/sources.list")])
        .args(["-o", &format!("Dir::Etc::SourceParts={place}/none")])
        .args(["-o", &format!("Dir::State::Lists={place}/lists")])
        .args(["-o", &format!("Dir::Cache={place}/cache")])
        .args(["-o", "APT::Sandbox::User=root", "update"])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("Err:"), "{text}");
    let served = proxy.served();
    let lists = served
        .iter()
        .find(|served| served.url.ends_with("/Packages") && served.status == 200)
        .unwrap_or_else(|| panic!("{served:?}"));
    assert_eq!(lists.content.unwrap().sha256, Digest::of(packages));
}

#[tokio::test]
async fn the_port_is_gone_with_the_session_and_the_value() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let first = proxy(&session, &rules(&[])).await;
    let url = first.guest_url();
    let address = url.trim_start_matches("http://").to_owned();
    assert!(tokio::net::TcpStream::connect(&address).await.is_ok());
    first.end(&session).await.unwrap();
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());

    let second = proxy(&session, &rules(&[])).await;
    session.close().await;
    let address = second.guest_url().replace("http://", "");
    let gone = async {
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .expect("sshd closes the port with the session");
}

#[tokio::test]
async fn a_sshd_that_does_not_allow_it_is_told_how_to() {
    let sshd = Sshd::with("AllowTcpForwarding no");
    let session = login(&sshd).await;
    let error = Proxy::serve(&session, &rules(&[]), &Ui::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, SshError::NoForward { .. }),
        "{}",
        chain(&error)
    );
    assert_eq!(session.output("echo on").await.unwrap(), "on\n");
}
