//! Where packages come from: sources that nobody signs, passwords for them, and proxies and authorities of the build.

use super::text::{has_url_password, lines, pair};
use super::{Look, ScanError, Severity};
use crate::debian::control;

const SOURCES: &str = "/etc/apt/sources.list";

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    sources(look)?;
    settings(look)?;
    passwords(look)?;
    dnf(look)?;
    proxies(look)?;
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

fn is_yes(value: &str) -> bool {
    let yes = ["yes", "true", "1", "on", "with", "enable"];
    yes.iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// apt.conf(5): only what is written on one line, as everybody does.
fn settings(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = look.texts("/etc/apt/apt.conf.d")?;
    files.extend(
        look.text("/etc/apt/apt.conf")?
            .map(|text| ("/etc/apt/apt.conf".to_owned(), text)),
    );
    for (path, text) in files {
        for (number, line) in lines(&text).filter(|(_, line)| !line.starts_with("//")) {
            let Some((key, value)) = pair(line) else {
                continue;
            };
            let value = value.trim_end_matches(';').trim_matches('"');
            let key = key.to_ascii_lowercase();
            let insecure = [
                "apt::get::allowunauthenticated",
                "acquire::allowinsecurerepositories",
                "acquire::allowweakrepositories",
                "acquire::https::verify-peer",
                "acquire::check-valid-until",
            ];
            let Some(at) = insecure.iter().position(|name| key == *name) else {
                if key.starts_with("acquire::")
                    && key.contains("proxy")
                    && !value.is_empty()
                    && value != "DIRECT"
                {
                    proxy(look, &path, number, line);
                }
                continue;
            };
            let off_is_bad = at >= 3;
            if off_is_bad != is_yes(value) && !value.is_empty() {
                look.report(
                    "unauthenticated-packages",
                    path.as_bytes(),
                    format!("line {number}: {line}"),
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

fn proxies(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = look.texts("/etc/profile.d")?;
    files.extend(look.texts("/etc/environment.d")?);
    files.extend(look.texts("/etc/systemd/system.conf.d")?);
    for path in [
        "/etc/environment",
        "/etc/profile",
        "/etc/bash.bashrc",
        "/root/.bashrc",
        "/root/.profile",
        "/etc/wgetrc",
        "/root/.wgetrc",
        "/root/.curlrc",
        "/etc/pip.conf",
        "/root/.npmrc",
        "/etc/systemd/system.conf",
        "/etc/dnf/dnf.conf",
        "/etc/yum.conf",
    ] {
        files.extend(look.text(path)?.map(|text| (path.to_owned(), text)));
    }
    for (path, text) in files {
        for (number, line) in lines(&text) {
            let name = line
                .trim_start_matches("export ")
                .trim_start_matches("DefaultEnvironment=");
            let Some((key, value)) = pair(name.trim_matches(['"', '\''])) else {
                continue;
            };
            let key = key.to_ascii_lowercase();
            let is = [
                "http_proxy",
                "https_proxy",
                "ftp_proxy",
                "all_proxy",
                "proxy",
                "https-proxy",
            ];
            let url = value.contains("://") || value.contains(':');
            if is.contains(&key.as_str()) && url {
                proxy(look, &path, number, line);
            }
        }
    }
    Ok(())
}

fn proxy(look: &mut Look<'_>, path: &str, number: usize, line: &str) {
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
    for place in PLACES {
        for (path, index) in look.root.tree().below(place) {
            let file = &look.root.tree().files()[index];
            if file.kind == crate::disk::read::Kind::File && look.owners.of(path).is_none() {
                look.report("added-authority", path, "no package has this certificate");
            }
        }
    }
}
