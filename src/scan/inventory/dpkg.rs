//! dpkg's database: the status file, and one file for each package in images without dpkg (`status.d`).

use std::collections::HashSet;

use super::{Manager, Package};
use crate::distro::debian::control::{self, Paragraph};
use crate::scan::root::shown;
use crate::scan::{Root, ScanError};

/// All packages of Debian together have a status of this size.
const MOST: u64 = 256 << 20;

const STATUS: &[u8] = b"/var/lib/dpkg/status";
const PIECES: &[u8] = b"/var/lib/dpkg/status.d";
pub const INFO: &[u8] = b"/var/lib/dpkg/info";

/// Every package whose files are on the disk in any way; `None` without a database.
pub fn read(root: &Root<'_>) -> Result<Option<Vec<Package>>, ScanError> {
    let (mut packages, mut found) = (Vec::new(), false);
    if let Some(bytes) = root.read(STATUS, MOST)? {
        found = true;
        let text = String::from_utf8_lossy(&bytes);
        let known = parse(&text, "", &mut packages).map_err(|problem| damaged(STATUS, problem))?;
        all_are_known(root, &known)?;
    }
    if let Some(directory) = root.resolve(PIECES) {
        for (path, file) in root.children(&directory) {
            if path.ends_with(b".md5sums") || file.kind != crate::disk::read::Kind::File {
                continue;
            }
            found = true;
            let bytes = root.content(path, file, MOST)?;
            let text = String::from_utf8_lossy(&bytes);
            // What is here is installed; there is no program that would say so.
            parse(&text, "install ok installed", &mut packages)
                .map_err(|problem| damaged(path, problem))?;
        }
    }
    Ok(found.then_some(packages))
}

fn damaged(path: &[u8], problem: String) -> ScanError {
    ScanError::Damaged {
        path: shown(path),
        problem,
    }
}

/// Adds the packages of a status; the answer is the names of all that it mentions. Whatever makes dpkg refuse the file
/// is an error here too, because a file that was cut short must not pass for one with fewer packages.
fn parse<'t>(
    text: &'t str,
    default: &str,
    packages: &mut Vec<Package>,
) -> Result<HashSet<&'t str>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("it is cut short".to_owned());
    }
    let mut known = HashSet::new();
    for paragraph in control::paragraphs(text) {
        let name = paragraph.field("Package").filter(|name| !name.is_empty());
        let name = name.ok_or("a paragraph has no field Package")?;
        known.insert(name);
        let status = paragraph.field("Status").unwrap_or(default);
        if is_there(status) {
            let package = package(&paragraph, name, status);
            packages.push(package.ok_or_else(|| format!("{name} has no version"))?);
        }
    }
    Ok(known)
}

fn is_there(status: &str) -> bool {
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

/// A status that was cut short between two paragraphs looks whole; the lists of files beside it still show what is missing.
fn all_are_known(root: &Root<'_>, known: &HashSet<&str>) -> Result<(), ScanError> {
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
            let problem = format!("it does not know {name}, whose list of files is there");
            return Err(damaged(STATUS, problem));
        }
    }
    Ok(())
}
