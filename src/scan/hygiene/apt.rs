//! Package sources: unsigned ones, their passwords, and certificate authorities that the build added.

use super::apt_conf::{self, Setting};
use super::text::{has_url_password, lines, pair};
use super::{HygieneScan, ScanError, Severity};
use crate::disk::read::FileType;
use crate::distro::debian::control::{self, Paragraph};

/// Settings of apt that turn off a check when they are on.
const INSECURE: [&str; 4] = [
    "apt::get::allowunauthenticated",
    "acquire::allowinsecurerepositories",
    "acquire::allowweakrepositories",
    "acquire::allowdowngradetoinsecurerepositories",
];
/// Settings of apt that turn off a check when they are off.
const SECURE: [&str; 3] = [
    "acquire::https::verify-peer",
    "acquire::https::verify-host",
    "acquire::check-valid-until",
];

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    sources(scan)?;
    settings(scan)?;
    passwords(scan)?;
    dnf(scan)?;
    authorities(scan);
    Ok(())
}

fn sources(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let files = scan.texts(&["/etc/apt/sources.list.d"], &["/etc/apt/sources.list"])?;
    for (path, text) in files {
        let untrusted = match path.rsplit('.').next() {
            Some("list") => lines(&text)
                .flat_map(|(number, line)| {
                    let options = untrusted_options(line);
                    options.map(move |option| format!("line {number}: {option}"))
                })
                .collect(),
            Some("sources") => control::paragraphs(&text)
                .flat_map(|paragraph| untrusted_fields(&paragraph))
                .collect::<Vec<_>>(),
            _ => continue,
        };
        for evidence in untrusted {
            scan.report("untrusted-source", path.as_bytes(), evidence);
        }
        for (number, line) in lines(&text).filter(|(_, line)| has_url_password(line)) {
            let scheme = line.split("://").next().unwrap_or_default();
            let scheme = scheme.rsplit([' ', '\t']).next().unwrap_or_default();
            let evidence = format!("a password in a {scheme} URL");
            scan.report_line("source-credentials", &path, number, &evidence);
        }
    }
    Ok(())
}

/// Returns the options in brackets of a one-line source that turn off its signature.
fn untrusted_options(line: &str) -> impl Iterator<Item = &str> {
    let options = line
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    let options = options
        .map_or("", |(options, _)| options)
        .split_whitespace();
    options.filter(|option| is_untrusted(option.split_once('=').unwrap_or((option, ""))))
}

/// Returns the fields of an enabled source that turn off its signature.
fn untrusted_fields(paragraph: &Paragraph<'_>) -> Vec<String> {
    if paragraph
        .field("Enabled")
        .is_some_and(|value| value == "no")
    {
        return Vec::new();
    }
    ["Trusted", "Allow-Insecure", "Allow-Weak"]
        .into_iter()
        .filter_map(|key| {
            let value = paragraph.field(key)?;
            is_untrusted((key, value)).then(|| format!("{key}: {value}"))
        })
        .collect()
}

fn is_untrusted((key, value): (&str, &str)) -> bool {
    let insecure = ["trusted", "allow-insecure", "allow-weak"];
    insecure.iter().any(|name| key.eq_ignore_ascii_case(name)) && is_yes(value)
}

pub(super) fn is_yes(value: &str) -> bool {
    let yes = ["yes", "true", "1", "on", "with", "enable"];
    yes.iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Checks apt.conf(5), in both of its forms: `A::B "c";` and `A { B "c"; };`.
fn settings(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    for (path, text) in scan.texts(&["/etc/apt/apt.conf.d"], &["/etc/apt/apt.conf"])? {
        for Setting { line, key, value } in apt_conf::settings(&text) {
            if value.is_empty() {
                continue;
            }
            let insecure = INSECURE.contains(&key.as_str()) && is_yes(&value);
            if insecure || (SECURE.contains(&key.as_str()) && !is_yes(&value)) {
                let evidence = format!("{key} is {value}");
                scan.report_line("unauthenticated-packages", &path, line, &evidence);
            }
            let parts: Vec<_> = key.split("::").collect();
            let is_proxy = matches!(parts[..], ["acquire", _, "proxy", ..]);
            if is_proxy && !value.eq_ignore_ascii_case("direct") {
                report_proxy(scan, &path, line, &value);
            }
        }
    }
    Ok(())
}

fn passwords(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    for (path, text) in scan.texts(&["/etc/apt/auth.conf.d"], &["/etc/apt/auth.conf"])? {
        for (number, _) in lines(&text).filter(|(_, line)| line.contains("password")) {
            let evidence = "a password for a source";
            scan.report_line("source-credentials", &path, number, evidence);
        }
    }
    Ok(())
}

fn dnf(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let files = scan.texts(
        &["/etc/yum.repos.d"],
        &["/etc/dnf/dnf.conf", "/etc/yum.conf"],
    )?;
    for (path, text) in files {
        for section in text.split("\n[") {
            let name = section.trim_start_matches('[').split(']').next();
            let name = name.unwrap_or_default();
            let mut report = |check, what: &str| {
                scan.report(check, path.as_bytes(), format!("[{name}]: {what}"));
            };
            let values: Vec<_> = lines(section).filter_map(|(_, line)| pair(line)).collect();
            let is_off = |key: &str| {
                let mut values = values.iter();
                let value = values.find(|(name, _)| name.eq_ignore_ascii_case(key));
                value.is_some_and(|(_, value)| !is_yes(value))
            };
            for key in ["gpgcheck", "sslverify"] {
                if is_off(key) && !is_off("enabled") {
                    report("untrusted-source", &format!("{key} is off"));
                }
            }
            let secret = |line: &str| has_url_password(line) || line.starts_with("password");
            if lines(section).any(|(_, line)| secret(line)) {
                report("source-credentials", "a password");
            }
        }
    }
    Ok(())
}

pub(super) fn report_proxy(scan: &mut HygieneScan<'_>, path: &str, number: usize, text: &str) {
    let (severity, what) = if has_url_password(text) {
        (Severity::High, "a proxy, with a password")
    } else {
        (Severity::Medium, "a proxy")
    };
    let evidence = format!("line {number}: {what}");
    scan.report_as("build-proxy", severity, path.as_bytes(), evidence);
}

/// Reports trusted certificates that belong to no package.
fn authorities(scan: &mut HygieneScan<'_>) {
    const SOURCES: [&[u8]; 4] = [
        b"/usr/local/share/ca-certificates",
        b"/usr/share/ca-certificates",
        b"/etc/pki/ca-trust/source/anchors",
        b"/etc/ca-certificates/trust-source/anchors",
    ];
    /// The regular files that belong into `/etc/ssl/certs`: the bundle, and Debian's certificate of the machine.
    const GENERATED: [&[u8]; 2] = [
        b"/etc/ssl/certs/ca-certificates.crt",
        b"/etc/ssl/certs/ssl-cert-snakeoil.pem",
    ];
    let root = scan.root;
    let certs = root.children(b"/etc/ssl/certs");
    let certs = certs.filter(|(path, _)| !GENERATED.contains(path));
    let sources = SOURCES.iter().flat_map(|place| root.tree().below(place));
    let sources = sources.map(|(path, index)| (path, &root.tree().files()[index]));
    for (path, file) in certs.chain(sources) {
        if file.kind == FileType::File && scan.owners.package_of(path).is_none() {
            scan.report(
                "added-authority",
                path,
                "the certificate belongs to no package",
            );
        }
    }
}
