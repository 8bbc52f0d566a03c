//! dpkg's database: the status file, or one file per package in images without dpkg (`status.d`).

use std::collections::HashSet;

use super::{Manager, Package};
use crate::distro::debian::control::{self, Paragraph};
use crate::scan::{Root, ScanError};

/// Size of a status file with all packages of Debian.
const MAX_STATUS_BYTES: u64 = 256 << 20;

const STATUS: &[u8] = b"/var/lib/dpkg/status";
const STATUS_D: &[u8] = b"/var/lib/dpkg/status.d";
pub const INFO: &[u8] = b"/var/lib/dpkg/info";

/// Reads the packages whose files are on the disk, in any state; `None` without a database.
pub fn read(root: &Root<'_>) -> Result<Option<Vec<Package>>, ScanError> {
    let (mut packages, mut found) = (Vec::new(), false);
    if let Some(bytes) = root.read(STATUS, MAX_STATUS_BYTES)? {
        found = true;
        let text = String::from_utf8_lossy(&bytes);
        let known = parse(&text, "", &mut packages)
            .map_err(|problem| ScanError::damaged(STATUS, problem))?;
        check_complete(root, &known)?;
    }
    if let Some(directory) = root.resolve(STATUS_D) {
        for (path, file) in root.children(&directory) {
            if path.ends_with(b".md5sums") || file.kind != crate::disk::read::FileType::File {
                continue;
            }
            found = true;
            let bytes = root.content(path, file, MAX_STATUS_BYTES)?;
            let text = String::from_utf8_lossy(&bytes);
            // Every package here is installed; no program records a state.
            parse(&text, "install ok installed", &mut packages)
                .map_err(|problem| ScanError::damaged(path, problem))?;
        }
    }
    Ok(found.then_some(packages))
}

/// Adds the packages of a status file and returns all names that it mentions. A file that dpkg rejects is an error here,
/// too: a truncated file must not pass for one with fewer packages.
fn parse<'t>(
    text: &'t str,
    default: &str,
    packages: &mut Vec<Package>,
) -> Result<HashSet<&'t str>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("truncated file".to_owned());
    }
    let mut known = HashSet::new();
    for paragraph in control::paragraphs(text) {
        let name = paragraph.field("Package").filter(|name| !name.is_empty());
        let name = name.ok_or("paragraph without a Package field")?;
        known.insert(name);
        let status = paragraph.field("Status").unwrap_or(default);
        if is_on_disk(status) {
            let package = package(&paragraph, name, status);
            packages.push(package.ok_or_else(|| format!("package {name} has no version"))?);
        }
    }
    Ok(known)
}

fn is_on_disk(status: &str) -> bool {
    let state = status.split_ascii_whitespace().nth(2);
    !matches!(state, None | Some("not-installed" | "config-files"))
}

fn package(paragraph: &Paragraph<'_>, name: &str, status: &str) -> Option<Package> {
    let version = paragraph.field("Version").filter(|text| !text.is_empty())?;
    let (source, source_version) = match paragraph.field("Source").filter(|text| !text.is_empty()) {
        None => (name, version),
        Some(text) => match text.split_once('(') {
            Some((source, rest)) => (source.trim_ascii(), rest.trim_end_matches(')').trim_ascii()),
            None => (text, version),
        },
    };
    Some(Package {
        manager: Manager::Dpkg,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: paragraph
            .field("Architecture")
            .unwrap_or_default()
            .to_owned(),
        source: source.to_owned(),
        source_version: source_version.to_owned(),
        status: if status == "install ok installed" {
            String::new()
        } else {
            status.to_owned()
        },
        license: String::new(),
    })
}

/// Compares the status with the file lists beside it, which reveal a file truncated between two paragraphs.
fn check_complete(root: &Root<'_>, known: &HashSet<&str>) -> Result<(), ScanError> {
    let Some(directory) = root.resolve(INFO) else {
        return Ok(());
    };
    for (path, _) in root.children(&directory) {
        let Some(name) = path[directory.len() + 1..].strip_suffix(b".list") else {
            continue;
        };
        let name = String::from_utf8_lossy(name);
        let name = name.split(':').next().unwrap_or_default();
        if !known.contains(name) {
            let problem = format!("package {name} is missing, but its file list exists");
            return Err(ScanError::damaged(STATUS, problem));
        }
    }
    Ok(())
}
