//! Proxies and language package indices of the build's network, in all files where programs look for them.

use super::apt::{is_yes, report_proxy};
use super::lists::LISTS;
use super::text::{lines, pair};
use super::{HygieneScan, ScanError, Severity};
use crate::disk::read::FileType;

/// Settings of pip and npm that name an index other than the public one.
const INDEX: [&str; 4] = ["index-url", "extra-index-url", "registry", "find-links"];

/// No unit that is written by hand is larger.
const MAX_UNIT_BYTES: u64 = 64 << 10;

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let mut files = scan.texts(&LISTS.proxy_directories, &LISTS.proxy_files)?;
    files.extend(units(scan)?);
    for (path, text) in files {
        let index = path.ends_with("pip.conf") || path.ends_with("npmrc");
        for (number, line) in lines(&text) {
            if names_proxy(line) {
                report_proxy(scan, &path, number, line);
            }
            if index {
                package_index(scan, &path, number, line);
            }
        }
    }
    Ok(())
}

/// Reads the units and drop-ins that belong to no package.
fn units(scan: &HygieneScan<'_>) -> Result<Vec<(String, String)>, ScanError> {
    let mut units = Vec::new();
    for (path, index) in scan.root.tree().below(b"/etc/systemd/system") {
        let file = &scan.root.tree().files()[index];
        let small = file.kind == FileType::File && file.content.size() < MAX_UNIT_BYTES;
        if small && scan.owners.package_of(path).is_none() {
            let text = scan.root.content(path, file, super::MAX_FILE_BYTES)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            units.push((String::from_utf8_lossy(path).into_owned(), text));
        }
    }
    Ok(units)
}

/// Returns whether a line contains `http_proxy=...` or the like, also among other words and in quotes.
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
        LISTS.proxy_names.contains(&key.as_str()) && host
    })
}

fn package_index(scan: &mut HygieneScan<'_>, path: &str, number: usize, line: &str) {
    let Some((key, value)) = pair(line) else {
        return;
    };
    let key = key.rsplit(':').next().unwrap_or_default();
    let (severity, what) = match key {
        "trusted-host" => (Severity::Medium, "certificates are not checked"),
        "strict-ssl" if value.contains("http://") || !is_yes(value) => {
            (Severity::Medium, "certificates are not checked")
        }
        _ if !INDEX.contains(&key) => return,
        _ if value.contains("http://") => (
            Severity::Medium,
            "packages are downloaded without encryption",
        ),
        _ => (Severity::Low, "packages come from another index"),
    };
    let evidence = format!("line {number}: {what}");
    scan.report_as("package-index", severity, path.as_bytes(), evidence);
}
