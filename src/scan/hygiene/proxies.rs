//! Proxies and package indices of the build's network, wherever programs look for them.

use super::apt::{is_yes, proxy};
use super::text::{lines, pair};
use super::{Look, ScanError, Severity};

const FILES: [&str; 26] = [
    "/etc/environment",
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/zsh/zshenv",
    "/root/.bashrc",
    "/root/.profile",
    "/root/.bash_profile",
    "/etc/wgetrc",
    "/root/.wgetrc",
    "/root/.curlrc",
    "/etc/pip.conf",
    "/root/.pip/pip.conf",
    "/root/.config/pip/pip.conf",
    "/etc/npmrc",
    "/usr/etc/npmrc",
    "/root/.npmrc",
    "/etc/gitconfig",
    "/root/.gitconfig",
    "/etc/docker/daemon.json",
    "/root/.docker/config.json",
    "/root/.cargo/config.toml",
    "/etc/default/docker",
    "/etc/systemd/system.conf",
    "/etc/dnf/dnf.conf",
    "/etc/yum.conf",
    "/etc/sysconfig/proxy",
];
const DIRECTORIES: [&str; 4] = [
    "/etc/profile.d",
    "/etc/environment.d",
    "/etc/systemd/system.conf.d",
    "/etc/sudoers.d",
];
const NAMES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "proxy",
    "https-proxy",
    "http-proxy",
    "socks_proxy",
];
/// In the file of a package index, what names another than everybody's.
const INDEX: [&str; 4] = ["index-url", "extra-index-url", "registry", "find-links"];

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = Vec::new();
    for directory in DIRECTORIES {
        files.extend(look.texts(directory)?);
    }
    for path in FILES {
        files.extend(look.text(path)?.map(|text| (path.to_owned(), text)));
    }
    files.extend(units(look)?);
    for (path, text) in files {
        let index = path.ends_with("pip.conf") || path.ends_with("npmrc");
        for (number, line) in lines(&text) {
            if names_proxy(line) {
                proxy(look, &path, number, line);
            }
            if index {
                package_index(look, &path, number, line);
            }
        }
    }
    Ok(())
}

/// Parts of units that nobody packaged.
fn units(look: &Look<'_>) -> Result<Vec<(String, String)>, ScanError> {
    let mut units = Vec::new();
    for (path, index) in look.root.tree().below(b"/etc/systemd/system") {
        let file = &look.root.tree().files()[index];
        let small = file.kind == crate::disk::read::Kind::File && file.content.size() < 64 << 10;
        if small && look.owners.of(path).is_none() {
            let text = look.root.content(path, file, super::LARGEST)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            units.push((String::from_utf8_lossy(path).into_owned(), text));
        }
    }
    Ok(units)
}

/// `http_proxy=...`, with all that may stand before and around it, also several in a line.
fn names_proxy(line: &str) -> bool {
    let around = ['"', '\'', ',', '{', '}'];
    let by_word = line.split_whitespace().any(|word| {
        let word = word
            .trim_start_matches("Environment=")
            .trim_start_matches("DefaultEnvironment=");
        is_proxy(word.trim_matches(around))
    });
    by_word || is_proxy(line.trim_matches(around))
}

fn is_proxy(text: &str) -> bool {
    let text = text.replacen("\":", "=", 1);
    pair(&text).is_some_and(|(key, value)| {
        let key = key
            .trim_matches(['"', '\''])
            .to_ascii_lowercase()
            .replace("httpproxy", "http_proxy")
            .replace("httpsproxy", "https_proxy");
        let value = value.trim_matches([' ', '"', '\'']);
        let host = value.contains(':') && !value.starts_with('$');
        NAMES.contains(&key.as_str()) && host
    })
}

fn package_index(look: &mut Look<'_>, path: &str, number: usize, line: &str) {
    let Some((key, value)) = pair(line) else {
        return;
    };
    let key = key.rsplit(':').next().unwrap_or_default();
    let unsafe_ = value.contains("http://")
        || key == "trusted-host"
        || (key == "strict-ssl" && !is_yes(value));
    let (severity, what) = match key {
        "trusted-host" | "strict-ssl" if unsafe_ => {
            (Severity::Medium, "certificates are not checked")
        }
        _ if !INDEX.contains(&key) => return,
        _ if unsafe_ => (Severity::Medium, "packages come without encryption"),
        _ => (Severity::Low, "packages come from another index"),
    };
    look.report_as(
        "package-index",
        severity,
        path.as_bytes(),
        format!("line {number}: {what}"),
    );
}
