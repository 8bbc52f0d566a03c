//! dpkg's own record: what is installed, which paths it has, and the checksums of its files.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::super::root::shown;
use super::hash::Sum;
use super::{Root, ScanError};
use crate::debian::{control, status};

/// Lists of paths and checksums.
const INFO: &[u8] = b"/var/lib/dpkg/info";
/// The same of images without dpkg itself, beside one status for each package.
const STATUS_D: &[u8] = b"/var/lib/dpkg/status.d";
const STATUS: &[u8] = b"/var/lib/dpkg/status";
const DIVERSIONS: &[u8] = b"/var/lib/dpkg/diversions";
/// A status of five thousand packages has 8 MiB, the longest list of any package 5 MiB.
const LARGEST: u64 = 64 << 20;

/// Paths of all packages together; the largest of systems have a million.
const MOST_PATHS: usize = 4 << 20;

/// A package that is there in any way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, `all` for none.
    pub architecture: String,
    /// Names in its `Pre-Depends`, `Depends` and `Recommends`.
    pub needs: Vec<String>,
}

/// What a package says that a file has.
pub struct Claim {
    pub path: Box<[u8]>,
    pub sum: Sum,
    pub package: usize,
    pub conffile: bool,
    pub obsolete: bool,
}

/// All of it.
#[derive(Default)]
pub struct Database {
    pub packages: Vec<Package>,
    pub claims: Vec<Claim>,
    pub names: Vec<String>,
    pub owners: HashMap<Box<[u8]>, usize>,
    numbers: HashMap<String, usize>,
}

impl Database {
    /// Reads it; a tree without dpkg has nothing in it.
    pub fn read(root: &Root<'_>) -> Result<Self, ScanError> {
        let mut database = Self::default();
        let mut places = Places::read(root)?;
        let mut conffiles = HashSet::new();
        for (path, text) in statuses(root)? {
            database.add_status(&path, &text, &mut places, &mut conffiles)?;
        }
        // All lists first: a path in the checksums of a package may have become another's, which only lists know.
        for directory in [INFO, STATUS_D] {
            for (path, file) in root.children(directory) {
                if let Some(name) = path[directory.len() + 1..].strip_suffix(b".list") {
                    let package = database.number(name);
                    database.add_list(&root.content(path, file, LARGEST)?, package, &mut places);
                    database.check_size(path)?;
                }
            }
        }
        for directory in [INFO, STATUS_D] {
            for (path, file) in root.children(directory) {
                if let Some(name) = path[directory.len() + 1..].strip_suffix(b".md5sums") {
                    let package = database.number(name);
                    let text = root.content(path, file, LARGEST)?;
                    database.add_sums(path, &text, package, &mut places, &conffiles)?;
                    database.check_size(path)?;
                }
            }
        }
        Ok(database)
    }

    fn check_size(&self, path: &[u8]) -> Result<(), ScanError> {
        let paths = self.owners.len().max(self.claims.len());
        if paths > MOST_PATHS {
            let problem = format!("with it packages have more than {MOST_PATHS} paths");
            return Err(damaged(path, problem));
        }
        Ok(())
    }

    /// The number of a package, by its name in the lists, which may have an architecture.
    fn number(&mut self, name: &[u8]) -> usize {
        let name = String::from_utf8_lossy(name);
        let name = name.split(':').next().unwrap_or_default();
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    fn add_status(
        &mut self,
        file: &[u8],
        text: &str,
        places: &mut Places<'_>,
        conffiles: &mut HashSet<Box<[u8]>>,
    ) -> Result<(), ScanError> {
        let installed = if file == STATUS {
            status::installed(text)
        } else {
            // One package for each file, and no states.
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
                let mut words = line.rsplitn(3, ' ').collect::<Vec<_>>();
                words.reverse();
                let (path, sum, flag) = match words[..] {
                    [path, sum, flag] if !is_sum(flag) && flag != "newconffile" => {
                        (Cow::from(path), sum, flag)
                    }
                    [more, path, sum] => (format!("{more} {path}").into(), sum, ""),
                    [path, sum] => (path.into(), sum, ""),
                    _ => return Err(damaged(file, format!("no conffile: {line:?}"))),
                };
                // One that was never unpacked, or whose hash nobody has taken.
                if flag == "remove-on-upgrade" || sum == "newconffile" {
                    continue;
                }
                let sum = parse_sum(sum.as_bytes())
                    .ok_or_else(|| damaged(file, format!("no checksum: {line:?}")))?;
                let package = self.number(name.as_bytes());
                let path = places.of(path.as_bytes(), name);
                conffiles.insert(path.clone());
                self.owners.insert(path.clone(), package);
                self.claims.push(Claim {
                    path,
                    sum,
                    package,
                    conffile: true,
                    obsolete: flag == "obsolete",
                });
            }
        }
        Ok(())
    }

    fn add_list(&mut self, text: &[u8], package: usize, places: &mut Places<'_>) {
        let lines = text.split(|&byte| byte == b'\n');
        for line in lines.filter(|line| line.len() > 1 && *line != b"/.") {
            let path = places.of(line, &self.names[package]);
            self.owners.insert(path, package);
        }
    }

    fn add_sums(
        &mut self,
        file: &[u8],
        text: &[u8],
        package: usize,
        places: &mut Places<'_>,
        conffiles: &HashSet<Box<[u8]>>,
    ) -> Result<(), ScanError> {
        for line in text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            // 32 digits, a space, a space or `*` for binary, the path without its first slash.
            let claim = line.get(..32).and_then(parse_sum).zip(line.get(34..));
            let Some((sum, path)) = claim.filter(|(_, path)| !path.is_empty()) else {
                let line = String::from_utf8_lossy(line).into_owned();
                return Err(damaged(file, format!("no checksum: {line:?}")));
            };
            let path = path.strip_prefix(b"./").unwrap_or(path);
            let path = places.of(&[b"/", path].concat(), &self.names[package]);
            // What it was replaced by is another package's.
            let owner = *self.owners.entry(path.clone()).or_insert(package);
            if owner == package && !conffiles.contains(&path) {
                self.claims.push(Claim {
                    path,
                    sum,
                    package,
                    conffile: false,
                    obsolete: false,
                });
            }
        }
        Ok(())
    }
}

/// Where a path is moved to, and the package that has it moved.
type Diversion = (Box<[u8]>, String);

/// Where the files of packages really are.
struct Places<'a> {
    root: &'a Root<'a>,
    /// What is moved, and everybody but whom it is moved for.
    diversions: HashMap<Box<[u8]>, Diversion>,
    directories: HashMap<Box<[u8]>, Option<Vec<u8>>>,
}

impl<'a> Places<'a> {
    fn read(root: &'a Root<'a>) -> Result<Self, ScanError> {
        let mut places = Self {
            root,
            diversions: HashMap::new(),
            directories: HashMap::new(),
        };
        let text = root.read(DIVERSIONS, LARGEST)?.unwrap_or_default();
        let lines: Vec<_> = text.split(|&byte| byte == b'\n').collect();
        // Three lines each; what is behind the last line end is empty.
        for three in lines.chunks_exact(3) {
            let (from, to) = (places.resolve(three[0]), places.resolve(three[1]));
            let by = String::from_utf8_lossy(three[2]).into_owned();
            places.diversions.insert(from, (to, by));
        }
        Ok(places)
    }

    /// Where a package's path is.
    fn of(&mut self, path: &[u8], package: &str) -> Box<[u8]> {
        let path = self.resolve(path);
        match self.diversions.get(&path) {
            Some((to, by)) if by != package => to.clone(),
            _ => path,
        }
    }

    /// The same path without links on the way: `/lib/x` is `/usr/lib/x` where `/lib` leads to `usr/lib`.
    fn resolve(&mut self, path: &[u8]) -> Box<[u8]> {
        let Some(slash) = path.iter().rposition(|&byte| byte == b'/') else {
            return path.into();
        };
        let (above, name) = path.split_at(slash);
        if above.is_empty() {
            return path.into();
        }
        if !self.directories.contains_key(above) {
            let real = self.root.resolve(above);
            self.directories.insert(above.into(), real);
        }
        match &self.directories[above] {
            Some(real) if real == b"/" => name.into(),
            Some(real) => [real, name].concat().into(),
            None => path.into(),
        }
    }
}

/// The names in relations, whatever the versions.
fn names(depends: &str, recommends: &str) -> Vec<String> {
    let all = depends
        .split([',', '|'])
        .chain(recommends.split([',', '|']));
    let names =
        all.filter_map(|relation| relation.split([' ', ':', '(']).find(|it| !it.is_empty()));
    names.map(str::to_owned).collect()
}

/// Every file that has states of packages.
fn statuses(root: &Root<'_>) -> Result<Vec<(Vec<u8>, String)>, ScanError> {
    let mut all = Vec::new();
    if let Some(bytes) = root.read(STATUS, LARGEST)? {
        all.push((STATUS.to_vec(), bytes));
    }
    let mut together = 0;
    for (path, file) in root.children(STATUS_D) {
        if !path.ends_with(b".md5sums") {
            together += file.content.size();
            if together > LARGEST {
                return Err(damaged(
                    path,
                    "with it all states are larger than any system's".to_owned(),
                ));
            }
            all.push((path.to_vec(), root.content(path, file, LARGEST)?));
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(all
        .into_iter()
        .map(|(path, bytes)| (path, text(bytes)))
        .collect())
}

fn is_sum(word: &str) -> bool {
    parse_sum(word.as_bytes()).is_some()
}

fn parse_sum(digits: &[u8]) -> Option<Sum> {
    HEXLOWER_PERMISSIVE.decode(digits).ok()?.try_into().ok()
}

fn damaged(path: &[u8], problem: String) -> ScanError {
    ScanError::Damaged {
        path: shown(path),
        problem,
    }
}
