//! A guest that is sealed: what it gets, what it does not, and what is recorded of it.

use std::process::Command;
use std::sync::Arc;

use karat::digest::Digest;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::site::Site;
use crate::support::web::{Web, serve};

/// Loopback, but no address that programs leave proxies aside for.
const HOST: &str = "127.0.0.2";

const TOOL: &[u8] = b"#!/bin/sh\necho the tool ran\n";
const NOTICE: &[u8] = b"a notice\n";

/// An HTTPS server, and the certificate to trust it by.
fn secure_web() -> (Web, String) {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = parameters.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new([HOST.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let files: [(&str, &[u8]); 2] = [("/tools/tool.sh", TOOL), ("/tools/later", b"later\n")];
    let web = Web::on(HOST, "https", files, move |stream, files, log| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        serve(rustls::StreamOwned::new(session, stream), files, log)
    });
    (web, authority)
}

fn template(secure: &Web, plain: &Web) -> String {
    format!(
        r#"
[image]
name = "sealed"

[builder.qemu]
cpus = 1

[packages.apt]
install = ["curl"]

[network]
allow = [
    {{ url = "{tools}" }},
    {{ url = "{notice}", sha256 = "{digest}" }},
]

[[provision]]
name = "get what is allowed"
creates = ["/etc/tool-ran", "/etc/notice"]
shell = {{ inline = ["curl -fsS {tools}tool.sh | sh > /etc/tool-ran", "curl -fsS {notice} > /etc/notice"] }}

[[provision]]
name = "be told at once of everything else"
shell = {{ script = "closed.sh" }}

[[provision]]
reboot = {{}}

[[provision]]
name = "after the restart"
creates = ["/etc/later"]
shell = {{ inline = ["curl -fsS {tools}later > /etc/later", "sed -n 's/^/authority: /; 3p' \"$SSL_CERT_FILE\""] }}

[[provision]]
name = "be told at once after the restart"
shell = {{ script = "closed.sh" }}
"#,
        tools = secure.url("/tools/"),
        notice = plain.url("/notice"),
        digest = Digest::of(NOTICE).hex(),
    )
}

/// Fails where a program gets through, or waits (124 is timeout's) instead of being told.
const CLOSED: &str = r#"
refused() {
    code=0
    timeout 30 "$@" 2>/dev/null || code=$?
    if [ "$code" = 0 ] || [ "$code" = 124 ]; then
        echo "exit code $code: $*"
        exit 1
    fi
}
refused bash -c '</dev/tcp/192.0.2.1/80'
refused bash -c '</dev/tcp/10.0.2.3/53'
refused getent hosts example.org
refused curl -sS --noproxy '*' https://192.0.2.1/
"#;

const UNDECLARED: &str = r#"
[image]
name = "undeclared"

[builder.qemu]
cpus = 1

[packages.apt]
install = ["curl"]

[[provision]]
name = "install what nobody declared"
shell = { inline = ["curl -fsSL https://get.example.org/install.sh | sh"] }
"#;

#[test]
fn a_sealed_guest_gets_what_is_allowed_and_no_more_and_the_manifest_says_so() {
    let site = Site::new();
    let (secure, authority) = secure_web();
    let plain = Web::on(HOST, "http", [("/notice", NOTICE)], |stream, files, log| {
        serve(stream, files, log)
    });
    let system = std::env::var("SSL_CERT_FILE")
        .unwrap_or_else(|_| "/etc/ssl/certs/ca-certificates.crt".to_owned());
    let trusted = std::fs::read_to_string(system).unwrap_or_default() + "\n" + &authority;
    site.write("trusted.pem", &trusted);
    site.write("closed.sh", CLOSED);
    site.write("sealed.toml", &template(&secure, &plain));
    site.write("undeclared.toml", UNDECLARED);
    let built = site
        .karat(["build", "--jobs", "2", "sealed.toml", "undeclared.toml"])
        .env("SSL_CERT_FILE", site.path("trusted.pem"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&built.stderr);
    assert_eq!(built.status.code(), Some(1), "{log}");
    let id = String::from_utf8(built.stdout).unwrap();
    let id = id.trim();
    assert!(!id.is_empty() && !id.contains('\n'), "one is built: {log}");
    for part in [
        "the step \"install what nobody declared\" failed",
        "undeclared.toml does not allow https://get.example.org/install.sh",
        "`allow = [{ url = \"https://get.example.org/install.sh\" }]`",
    ] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }

    let manifest = site.stdout(["show", "--json", id]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let inputs = &manifest["inputs"];
    assert_eq!(inputs["hermetic"], true);
    assert_eq!(inputs["network"]["open"], false);
    let request = |url: String, content: &[u8]| {
        serde_json::json!({
            "url": url, "sha256": Digest::of(content).to_string(), "size": content.len(),
        })
    };
    let mut expected = vec![
        request(secure.url("/tools/tool.sh"), TOOL),
        request(secure.url("/tools/later"), b"later\n"),
        request(plain.url("/notice"), NOTICE),
    ];
    expected.sort_by_key(|request| request["url"].as_str().unwrap().to_owned());
    assert_eq!(inputs["network"]["requests"], serde_json::json!(expected));
    assert!(site.stdout(["show", id]).contains("/tools/later"));
    assert_eq!(
        plain.asked().len(),
        1,
        "what has a digest is fetched once, by the host"
    );

    let line = log
        .lines()
        .find_map(|line| line.split_once("authority: "))
        .unwrap_or_else(|| panic!("{log}"));
    let line = line.1.trim();
    assert!(line.len() > 40, "a line of the certificate: {line:?}");
    site.stdout(["export", id, "-o", "image.qcow2"]);
    assert!(holds(&site, "the tool ran"), "the image can be searched");
    assert!(!holds(&site, line), "the authority is on the disk");
    site.assert_nothing_left();
}

/// Whether a text is anywhere on the disk.
fn holds(site: &Site, text: &str) -> bool {
    let raw = site.path("image.raw");
    if !raw.exists() {
        let converted = Command::new("qemu-img")
            .args(["convert", "-O", "raw"])
            .arg(site.path("image.qcow2"))
            .arg(&raw)
            .status();
        assert!(converted.unwrap().success());
    }
    // Lines of a size that grep can bear.
    Command::new("sh")
        .args(["-c", "tr '\\0' '\\n' <\"$1\" | grep -aqF -e \"$2\"", "sh"])
        .arg(&raw)
        .arg(text)
        .status()
        .unwrap()
        .success()
}
