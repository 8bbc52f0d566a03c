//! Language packages that no system package owns: installed by `pip` and `npm`, or compiled into Go and Rust programs.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use memchr::memmem;

use self::elf::Elf;
use super::{Language, Manager, apk, dpkg, rpm};
use crate::disk::read::FileType;
use crate::disk::tree::File;
use crate::scan::{Root, ScanError};

mod cargo;
mod elf;
mod go;
mod metadata;

/// The largest file lists of a package have some MiB.
const MAX_LIST_BYTES: u64 = 64 << 20;
const MAX_METADATA_BYTES: u64 = 8 << 20;
/// An image for machine learning with everything in it has some thousands.
const MAX_PACKAGES: usize = 200_000;
/// Unpacked size of the build information of all executables.
const MAX_UNPACKED_BYTES: u64 = 1 << 30;

/// Metadata of Python packages: wheels, then the older forms as a directory, as a file, and within an egg.
const PYTHON: [&[u8]; 4] = [
    b".dist-info/METADATA",
    b".egg-info/PKG-INFO",
    b".egg-info",
    b".egg/EGG-INFO/PKG-INFO",
];

/// Parses a metadata file.
type Reader = fn(&[u8]) -> Option<metadata::Metadata>;

/// A file that may describe packages.
enum Candidate {
    /// Metadata of a package, with its package URL type.
    Text(&'static str, Reader),
    /// Executable or library with build information.
    Binary,
}

/// Reads the language packages that none of the package managers owns.
pub fn read(root: &Root<'_>, managers: &[Manager]) -> Result<Vec<Language>, ScanError> {
    let mut candidates = candidates(root);
    if !candidates.is_empty() {
        let moved = Moved::of(root);
        for manager in managers {
            without_owned(root, *manager, &mut |path| {
                candidates.remove(moved.real(path).as_bytes());
            })?;
        }
    }
    let (mut found, mut left, mut seen) = (Vec::new(), MAX_UNPACKED_BYTES, HashSet::new());
    for (path, (candidate, index)) in candidates {
        let file = &root.tree().files()[index];
        match candidate {
            // Hard links are the same program.
            Candidate::Binary if seen.insert(index) => {
                found.extend(in_binary(root, path, file, &mut left)?);
            }
            Candidate::Text(kind, reader) if file.content.size() <= MAX_METADATA_BYTES => {
                let bytes = root.content(path, file, MAX_METADATA_BYTES)?;
                found.extend(reader(&bytes).map(|metadata| Language {
                    path: String::from_utf8_lossy(path).into_owned(),
                    kind: kind.to_owned(),
                    name: metadata.name,
                    version: metadata.version,
                    license: metadata.license,
                }));
            }
            _ => {}
        }
        if found.len() > MAX_PACKAGES || left == 0 {
            let problem = "the system has more language packages than karat can list";
            return Err(ScanError::damaged(path, problem));
        }
    }
    Ok(found)
}

/// Returns the candidates by path, selected by name and mode.
fn candidates<'a>(root: &Root<'a>) -> BTreeMap<&'a [u8], (Candidate, usize)> {
    let tree = root.tree();
    let files = tree.paths().filter_map(|(path, index)| {
        let file = &tree.files()[index];
        if file.kind != FileType::File {
            return None;
        }
        let candidate = match kind_of(path) {
            Some((kind, reader)) => Candidate::Text(kind, reader),
            // Libraries need not be executable.
            None if file.mode & 0o111 != 0 || memmem::find(path, b".so").is_some() => {
                Candidate::Binary
            }
            None => return None,
        };
        Some((path, (candidate, index)))
    });
    files.collect()
}

/// Reads the build information of an executable.
fn in_binary(
    root: &Root<'_>,
    path: &[u8],
    file: &File,
    left: &mut u64,
) -> Result<Vec<Language>, ScanError> {
    let fetch = |at, buffer: &mut [u8]| root.read_at(file, at, buffer);
    let Some(elf) = Elf::open(&fetch)? else {
        return Ok(Vec::new());
    };
    let language = |kind: &str, name, version| Language {
        path: String::from_utf8_lossy(path).into_owned(),
        kind: kind.to_owned(),
        name,
        version,
        license: String::new(),
    };
    let modules = go::modules(&elf)?.into_iter();
    let modules = modules.map(|(name, version)| language("golang", name, version));
    let crates = cargo::crates(&elf, left)?.into_iter();
    let crates = crates.map(|package| language("cargo", package.name, package.version));
    let mut all: Vec<_> = modules.chain(crates).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// Top-level directories that are symbolic links: a package's `/bin/x` is `/usr/bin/x` in the tree.
struct Moved(Vec<(String, String)>);

impl Moved {
    fn of(root: &Root<'_>) -> Self {
        let links = root
            .children(b"/")
            .filter(|(_, file)| file.kind == FileType::Link);
        let links = links.filter_map(|(path, _)| {
            let target = String::from_utf8(root.resolve(path)?).ok()?;
            let from = format!("{}/", String::from_utf8_lossy(path));
            Some((from, format!("{}/", target.trim_end_matches('/'))))
        });
        Self(links.collect())
    }

    fn real<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let mut links = self.0.iter();
        let moved = links.find_map(|(from, to)| Some(format!("{to}{}", path.strip_prefix(from)?)));
        moved.map_or(Cow::Borrowed(path), Cow::Owned)
    }
}

fn kind_of(path: &[u8]) -> Option<(&'static str, Reader)> {
    if PYTHON.iter().any(|end| path.ends_with(end)) {
        return Some(("pypi", metadata::python));
    }
    let directory = path.strip_suffix(b"/package.json")?;
    // Installed packages only: subdirectories of a package have such files, too.
    let mut names = directory.rsplit(|&byte| byte == b'/');
    let (_, mut above) = (names.next()?, names.next()?);
    if above.starts_with(b"@") {
        above = names.next()?;
    }
    (above == b"node_modules").then_some(("npm", metadata::npm as Reader))
}

/// Passes every file of the package manager's packages to `owned`.
fn without_owned(
    root: &Root<'_>,
    manager: Manager,
    owned: &mut dyn FnMut(&str),
) -> Result<(), ScanError> {
    match manager {
        Manager::Rpm => rpm::files(root, owned)?,
        Manager::Apk => {
            for path in apk::PATHS {
                let bytes = root.read(path, MAX_LIST_BYTES)?.unwrap_or_default();
                apk::package_files(&String::from_utf8_lossy(&bytes))
                    .for_each(|entry| owned(&entry.path));
            }
        }
        Manager::Dpkg => {
            let Some(directory) = root.resolve(dpkg::INFO) else {
                return Ok(());
            };
            for (path, file) in root.children(&directory) {
                if path.ends_with(b".list") && file.kind == FileType::File {
                    let bytes = root.content(path, file, MAX_LIST_BYTES)?;
                    let list = String::from_utf8_lossy(&bytes);
                    list.lines().for_each(&mut *owned);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::scan::testing::Planted;

    /// Builds a Go program with this main module.
    pub fn go_program(name: &str) -> Vec<u8> {
        let fence = [7_u8; 16];
        let list = [&fence[..], b"mod\t", name.as_bytes(), b"\tv1.0.0\n", &fence].concat();
        let head = [&b"\xff Go buildinf:"[..], &[8, 2], &[0; 16]].concat();
        let length = [u8::try_from(list.len()).unwrap()];
        let bytes = [&head[..], b"\x06go1.20", &length, &list].concat();
        elf::testing::program(&[(".go.buildinfo", &bytes)], (0, b""))
    }

    /// Builds a program as `cargo auditable` does.
    pub fn rust_program() -> Vec<u8> {
        let json =
            br#"{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true}]}"#;
        elf::testing::program(&[(".dep-v0", &cargo::tests::packed(json))], (0, b""))
    }

    #[test]
    fn what_a_package_of_the_system_owns_is_left_out() {
        let python = |name: &str| {
            format!(
                "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n\nName: body\n"
            )
        };
        let node = "{\"name\": \"@scope/left-pad\", \"version\": \"1.3.0\", \"license\": {\"type\": \"WTFPL\"}}";
        let tree = Planted::default()
            .file(
                "/usr/lib/python3/dist-packages/owned-1.dist-info/METADATA",
                0o644,
                python("owned"),
            )
            .file(
                "/usr/local/lib/python3.11/dist-packages/mine-1.dist-info/METADATA",
                0o644,
                python("mine"),
            )
            .file(
                "/opt/app/node_modules/@scope/left-pad/package.json",
                0o644,
                node,
            )
            .file(
                "/opt/app/node_modules/@scope/left-pad/test/package.json",
                0o644,
                node,
            )
            .file("/opt/app/node_modules/broken/package.json", 0o644, "{")
            .file("/opt/app/package.json", 0o644, node)
            .file(
                "/var/lib/dpkg/info/python3-owned.list",
                0o644,
                "/.\n/usr/lib/python3/dist-packages/owned-1.dist-info/METADATA\n",
            );
        let found = read(&tree.root(), &[Manager::Dpkg]).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|one| [&one.kind, &one.name, &one.version, &one.license].map(String::as_str))
            .collect();
        assert_eq!(
            shown,
            [
                ["npm", "@scope/left-pad", "1.3.0", "WTFPL"],
                ["pypi", "mine", "1.0", "MIT"],
            ]
        );
        assert_eq!(
            found[1].path,
            "/usr/local/lib/python3.11/dist-packages/mine-1.dist-info/METADATA"
        );
    }

    #[test]
    fn programs_of_the_system_are_not_looked_into() {
        let tree = Planted::default()
            .link("/bin", "usr/bin")
            .file("/usr/bin/owned", 0o755, go_program("owned"))
            .file("/usr/bin/mine", 0o755, go_program("example.org/mine"))
            .file("/opt/plain", 0o644, go_program("not.executable"))
            .file("/opt/lib.so.1", 0o644, go_program("example.org/library"))
            .file("/opt/script", 0o755, "#!/bin/sh\n")
            .file("/opt/old-2.0.egg-info", 0o644, "Name: old\nVersion: 2.0\n")
            .file("/var/lib/dpkg/info/owned.list", 0o644, "/.\n/bin/owned\n");
        let found = read(&tree.root(), &[Manager::Dpkg]).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|one| format!("{} {} {}", one.path, one.kind, one.name))
            .collect();
        assert_eq!(
            shown,
            [
                "/opt/lib.so.1 golang example.org/library",
                "/opt/lib.so.1 golang stdlib",
                "/opt/old-2.0.egg-info pypi old",
                "/usr/bin/mine golang example.org/mine",
                "/usr/bin/mine golang stdlib",
            ]
        );
    }
}
