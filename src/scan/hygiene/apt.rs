//! Where packages come from: sources that nobody signs, passwords for them, and authorities of the build.

use super::apt_conf::{self, Setting};
use super::text::{has_url_password, lines, pair};
use super::{Look, ScanError, Severity};
use crate::distro::debian::control;

const SOURCES: &str = "/etc/apt/sources.list";

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    sources(look)?;
    settings(look)?;
    passwords(look)?;
    dnf(look)?;
    authorities(look);
    Ok(())
}

fn sources(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = look.texts("/etc/apt/sources.list.d")?;
    files.extend(look.text(SOURCES)?.map(|text| (SOURCES.to_owned(), text)));
    for (path, text) in files {
        let path_bytes = path.as_bytes();
        let kind = path.rsplit('.').next();
        if kind == Some("list") {
            for (number, line) in lines(&text) {
                let options = line
                    .split_once('[')
                    .and_then(|(_, rest)| rest.split_once(']'));
                let options = options.map_or("", |(options, _)| options);
                for option in options.split_whitespace() {
                    if is_untrusted(option.split_once('=').unwrap_or((option, ""))) {
                        let evidence = format!("line {number}: {option}");
                        look.report("untrusted-source", path_bytes, evidence);
                    }
                }
            }
        } else if kind == Some("sources") {
            for paragraph in control::paragraphs(&text) {
                if paragraph
                    .field("Enabled")
                    .is_some_and(|value| value == "no")
                {
                    continue;
                }
                for key in ["Trusted", "Allow-Insecure", "Allow-Weak"] {
                    if let Some(value) = paragraph
                        .field(key)
                        .filter(|value| is_untrusted((key, value)))
                    {
                        look.report("untrusted-source", path_bytes, format!("{key}: {value}"));
                    }
                }
            }
        } else {
            continue;
        }
        for (number, line) in lines(&text).filter(|(_, line)| has_url_password(line)) {
            let scheme = line.split("://").next().unwrap_or_default();
            let scheme = scheme.rsplit([' ', '\t']).next().unwrap_or_default();
            let evidence = format!("line {number}: a password in a {scheme} URL");
            look.report("source-credentials", path_bytes, evidence);
        }
    }
    Ok(())
}

fn is_untrusted((key, value): (&str, &str)) -> bool {
    let insecure = ["trusted", "allow-insecure", "allow-weak"];
    insecure.iter().any(|name| key.eq_ignore_ascii_case(name)) && is_yes(value)
}

pub(super) fn is_yes(value: &str) -> bool {
    let yes = ["yes", "true", "1", "on", "with", "enable"];
    yes.iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// apt.conf(5), in both of its forms: `A::B "c";` and `A { B "c"; };`.
fn settings(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = look.texts("/etc/apt/apt.conf.d")?;
    files.extend(
        look.text("/etc/apt/apt.conf")?
            .map(|text| ("/etc/apt/apt.conf".to_owned(), text)),
    );
    for (path, text) in files {
        for Setting { line, key, value } in apt_conf::settings(&text) {
            let insecure = [
                "apt::get::allowunauthenticated",
                "acquire::allowinsecurerepositories",
                "acquire::allowweakrepositories",
                "acquire::allowdowngradetoinsecurerepositories",
                "acquire::https::verify-peer",
                "acquire::https::verify-host",
                "acquire::check-valid-until",
            ];
            let Some(at) = insecure.iter().position(|name| key == *name) else {
                let parts: Vec<_> = key.split("::").collect();
                let to = matches!(parts[..], ["acquire", _, "proxy", ..]);
                if to && !value.is_empty() && !value.eq_ignore_ascii_case("direct") {
                    proxy(look, &path, line, &value);
                }
                continue;
            };
            let off_is_bad = at >= 4;
            if off_is_bad != is_yes(&value) && !value.is_empty() {
                look.report(
                    "unauthenticated-packages",
                    path.as_bytes(),
                    format!("line {line}: {key} is {value}"),
                );
            }
        }
    }
    Ok(())
}

fn passwords(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = look.texts("/etc/apt/auth.conf.d")?;
    files.extend(
        look.text("/etc/apt/auth.conf")?
            .map(|text| ("/etc/apt/auth.conf".to_owned(), text)),
    );
    for (path, text) in files {
        for (number, _) in lines(&text).filter(|(_, line)| line.contains("password")) {
            let evidence = format!("line {number}: a password for a source");
            look.report("source-credentials", path.as_bytes(), evidence);
        }
    }
    Ok(())
}

fn dnf(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = look.texts("/etc/yum.repos.d")?;
    for path in ["/etc/dnf/dnf.conf", "/etc/yum.conf"] {
        files.extend(look.text(path)?.map(|text| (path.to_owned(), text)));
    }
    for (path, text) in files {
        for section in text.split("\n[") {
            let values: Vec<_> = lines(section).filter_map(|(_, line)| pair(line)).collect();
            let is = |key: &str, off: bool| {
                let value = values
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(key));
                value.is_some_and(|(_, value)| is_yes(value) != off)
            };
            let name = section
                .trim_start_matches('[')
                .split(']')
                .next()
                .unwrap_or_default();
            if is("gpgcheck", true) && !is("enabled", true) {
                look.report(
                    "untrusted-source",
                    path.as_bytes(),
                    format!("[{name}]: gpgcheck is off"),
                );
            }
            if is("sslverify", true) && !is("enabled", true) {
                look.report(
                    "untrusted-source",
                    path.as_bytes(),
                    format!("[{name}]: sslverify is off"),
                );
            }
            if lines(section)
                .any(|(_, line)| has_url_password(line) || line.starts_with("password"))
            {
                look.report(
                    "source-credentials",
                    path.as_bytes(),
                    format!("[{name}]: a password"),
                );
            }
        }
    }
    Ok(())
}

pub(super) fn proxy(look: &mut Look<'_>, path: &str, number: usize, line: &str) {
    let (severity, what) = if has_url_password(line) {
        (Severity::High, "a proxy, with a password")
    } else {
        (Severity::Medium, "a proxy")
    };
    look.report_as(
        "build-proxy",
        severity,
        path.as_bytes(),
        format!("line {number}: {what}"),
    );
}

/// Certificates that no package has and that every program believes.
fn authorities(look: &mut Look<'_>) {
    const PLACES: [&[u8]; 4] = [
        b"/usr/local/share/ca-certificates",
        b"/usr/share/ca-certificates",
        b"/etc/pki/ca-trust/source/anchors",
        b"/etc/ca-certificates/trust-source/anchors",
    ];
    // Where nothing but links and the bundle that is made of them belongs.
    for (path, file) in look.root.children(b"/etc/ssl/certs") {
        let made: [&[u8]; 2] = [
            b"/etc/ssl/certs/ca-certificates.crt",
            b"/etc/ssl/certs/ssl-cert-snakeoil.pem",
        ];
        let own = file.kind == crate::disk::read::Kind::File && !made.contains(&path);
        if own && look.owners.of(path).is_none() {
            look.report("added-authority", path, "no package has this certificate");
        }
    }
    for place in PLACES {
        for (path, index) in look.root.tree().below(place) {
            let file = &look.root.tree().files()[index];
            if file.kind == crate::disk::read::Kind::File && look.owners.of(path).is_none() {
                look.report("added-authority", path, "no package has this certificate");
            }
        }
    }
}
