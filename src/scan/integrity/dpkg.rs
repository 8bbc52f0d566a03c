//! Paths and file checksums from dpkg's database.

use std::borrow::Cow;
use std::collections::HashSet;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::database::{Claim, Database, Expected, Package, PathResolver};
use super::hash::{Checksum, Sum};
use super::{Root, ScanError};
use crate::distro::debian::{control, status};

/// Path lists and checksums.
const INFO: &[u8] = b"/var/lib/dpkg/info";
/// Checksums and one status file per package, in images without dpkg.
const STATUS_D: &[u8] = b"/var/lib/dpkg/status.d";
const STATUS: &[u8] = b"/var/lib/dpkg/status";
const DIVERSIONS: &[u8] = b"/var/lib/dpkg/diversions";
/// A status of five thousand packages has 8 MiB, the longest path list of any package 5 MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Adds dpkg's packages, if the tree has any.
pub fn read<'a>(
    root: &Root<'a>,
    database: &mut Database,
    places: &mut PathResolver<'a>,
) -> Result<(), ScanError> {
    for diversion in &diversions(root)? {
        places.divert(diversion);
    }
    let mut conffiles = HashSet::new();
    for (path, text) in statuses(root)? {
        database.add_status(&path, &text, places, &mut conffiles)?;
    }
    // All lists first: a path in a package's checksums may have moved to another package, which only the lists show.
    for directory in [INFO, STATUS_D] {
        for (path, file) in root.children(directory) {
            if let Some(name) = path[directory.len() + 1..].strip_suffix(b".list") {
                let package = database.number(&name_of(name));
                database.add_list(&root.content(path, file, MAX_FILE_BYTES)?, package, places);
                database.check_size(path)?;
            }
        }
    }
    for directory in [INFO, STATUS_D] {
        for (path, file) in root.children(directory) {
            if let Some(name) = path[directory.len() + 1..].strip_suffix(b".md5sums") {
                let package = database.number(&name_of(name));
                let text = root.content(path, file, MAX_FILE_BYTES)?;
                database.add_sums(path, &text, package, places, &conffiles)?;
                database.check_size(path)?;
            }
        }
    }
    Ok(())
}

/// Returns the diversions of a system: path, where it is diverted to, and the package that diverts it (`:` for a local one).
pub fn diversions(root: &Root<'_>) -> Result<Vec<[Vec<u8>; 3]>, ScanError> {
    let text = root.read(DIVERSIONS, MAX_FILE_BYTES)?.unwrap_or_default();
    let lines: Vec<_> = text
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    // Three lines each; the text after the last line end is empty.
    let all = lines.chunks_exact(3);
    Ok(all
        .filter_map(|lines| lines.to_vec().try_into().ok())
        .collect())
}

impl Database {
    fn add_status(
        &mut self,
        file: &[u8],
        text: &str,
        places: &mut PathResolver<'_>,
        conffiles: &mut HashSet<Box<[u8]>>,
    ) -> Result<(), ScanError> {
        let installed = if file == STATUS {
            status::installed(text)
        } else {
            // One package per file, without a state.
            status::offered(text)
        };
        self.packages
            .extend(installed.into_iter().map(|package| Package {
                name: package.name.to_owned(),
                version: package.version.to_owned(),
                architecture: package.architecture.to_owned(),
                needs: names(&package.depends, &package.recommends),
            }));
        for paragraph in control::paragraphs(text) {
            let Some(name) = paragraph.field("Package") else {
                continue;
            };
            for line in paragraph.lines_of("Conffiles").skip(1) {
                let invalid = |what| ScanError::damaged(file, format!("invalid {what}: {line:?}"));
                let mut words = line.rsplitn(3, ' ').collect::<Vec<_>>();
                words.reverse();
                let (path, sum, flag) = match words[..] {
                    [path, sum, flag] if !is_sum(flag) && flag != "newconffile" => {
                        (Cow::from(path), sum, flag)
                    }
                    [more, path, sum] => (format!("{more} {path}").into(), sum, ""),
                    [path, sum] => (path.into(), sum, ""),
                    _ => return Err(invalid("conffile")),
                };
                // Never unpacked, or without a checksum.
                if flag == "remove-on-upgrade" || sum == "newconffile" {
                    continue;
                }
                let sum = parse_sum(sum.as_bytes()).ok_or_else(|| invalid("checksum"))?;
                let package = self.number(name);
                let path = places.diverted(path.as_bytes(), name);
                conffiles.insert(path.clone());
                self.owners.insert(path.clone(), package);
                self.claims.push(Claim {
                    path,
                    expected: Expected::File(Checksum::Md5(sum)),
                    package,
                    conffile: true,
                    obsolete: flag == "obsolete",
                });
            }
        }
        Ok(())
    }

    fn add_list(&mut self, text: &[u8], package: usize, places: &mut PathResolver<'_>) {
        let lines = text.split(|&byte| byte == b'\n');
        for line in lines.filter(|line| line.len() > 1 && *line != b"/.") {
            let path = places.diverted(line, &self.names[package]);
            self.owners.insert(path, package);
        }
    }

    fn add_sums(
        &mut self,
        file: &[u8],
        text: &[u8],
        package: usize,
        places: &mut PathResolver<'_>,
        conffiles: &HashSet<Box<[u8]>>,
    ) -> Result<(), ScanError> {
        for line in text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            // 32 digits, a space, a space or `*` (binary), and the path without its leading slash.
            let claim = line.get(..32).and_then(parse_sum).zip(line.get(34..));
            let Some((sum, path)) = claim.filter(|(_, path)| !path.is_empty()) else {
                let line = String::from_utf8_lossy(line).into_owned();
                let problem = format!("invalid checksum: {line:?}");
                return Err(ScanError::damaged(file, problem));
            };
            let path = path.strip_prefix(b"./").unwrap_or(path);
            let path = places.diverted(&[b"/", path].concat(), &self.names[package]);
            // A replaced file belongs to the replacing package.
            let owner = *self.owners.entry(path.clone()).or_insert(package);
            if owner == package && !conffiles.contains(&path) {
                self.claims.push(Claim {
                    path,
                    expected: Expected::File(Checksum::Md5(sum)),
                    package,
                    conffile: false,
                    obsolete: false,
                });
            }
        }
        Ok(())
    }
}

/// Returns the package name of a list, without the architecture.
fn name_of(list: &[u8]) -> String {
    let name = String::from_utf8_lossy(list);
    name.split(':').next().unwrap_or_default().to_owned()
}

/// Returns the names in relations, without versions.
fn names(depends: &str, recommends: &str) -> Vec<String> {
    let relations = [depends, recommends].into_iter();
    let relations = relations.flat_map(|field| field.split([',', '|']));
    let names = relations.filter_map(|relation| {
        let mut words = relation.split([' ', ':', '(']);
        words.find(|word| !word.is_empty())
    });
    names.map(str::to_owned).collect()
}

/// Returns every status file with its text.
fn statuses(root: &Root<'_>) -> Result<Vec<(Vec<u8>, String)>, ScanError> {
    let mut all = Vec::new();
    if let Some(bytes) = root.read(STATUS, MAX_FILE_BYTES)? {
        all.push((STATUS.to_vec(), bytes));
    }
    let mut total = 0;
    for (path, file) in root.children(STATUS_D) {
        if !path.ends_with(b".md5sums") {
            total += file.content.size();
            if total > MAX_FILE_BYTES {
                let problem = "the status files are larger than any system's";
                return Err(ScanError::damaged(path, problem));
            }
            all.push((path.to_vec(), root.content(path, file, MAX_FILE_BYTES)?));
        }
    }
    let all = all.into_iter();
    Ok(all
        .map(|(path, bytes)| (path, String::from_utf8_lossy(&bytes).into_owned()))
        .collect())
}

fn is_sum(word: &str) -> bool {
    parse_sum(word.as_bytes()).is_some()
}

fn parse_sum(digits: &[u8]) -> Option<Sum> {
    HEXLOWER_PERMISSIVE.decode(digits).ok()?.try_into().ok()
}
