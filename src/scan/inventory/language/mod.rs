//! Packages of languages: what `pip`, `npm` and so on have put beside the packages of the system.

use std::collections::BTreeMap;

use super::{Language, Manager, apk, dpkg, rpm};
use crate::disk::read::Kind;
use crate::scan::{Root, ScanError};

mod metadata;

/// A list of a package's files; the largest have some MiB.
const MOST_LIST: u64 = 64 << 20;
/// What a package says of itself.
const MOST_METADATA: u64 = 8 << 20;

/// How to read a file that describes a package.
type Reader = fn(&[u8]) -> Option<metadata::Described>;

/// Every such package that is in no package of the system.
pub fn read(root: &Root<'_>, managers: &[Manager]) -> Result<Vec<Language>, ScanError> {
    let mut candidates: BTreeMap<String, (&str, Reader, usize)> = BTreeMap::new();
    for (path, index) in root.tree().paths() {
        if let (Some((kind, reader)), Ok(path)) = (kind_of(path), std::str::from_utf8(path)) {
            candidates.insert(path.to_owned(), (kind, reader, index));
        }
    }
    if !candidates.is_empty() {
        for manager in managers {
            without_owned(root, *manager, &mut |path| {
                candidates.remove(path);
            })?;
        }
    }
    let mut found = Vec::new();
    for (path, (kind, reader, index)) in candidates {
        let file = &root.tree().files()[index];
        if file.kind != Kind::File || file.content.size() > MOST_METADATA {
            continue;
        }
        let bytes = root.content(path.as_bytes(), file, MOST_METADATA)?;
        if let Some(described) = reader(&bytes) {
            found.push(Language {
                path,
                kind: kind.to_owned(),
                name: described.name,
                version: described.version,
                license: described.license,
            });
        }
    }
    Ok(found)
}

fn kind_of(path: &[u8]) -> Option<(&'static str, Reader)> {
    if path.ends_with(b".dist-info/METADATA") || path.ends_with(b".egg-info/PKG-INFO") {
        return Some(("pypi", metadata::python));
    }
    let directory = path.strip_suffix(b"/package.json")?;
    // Only what was installed: a package's own parts have such files too.
    let mut names = directory.rsplit(|&byte| byte == b'/');
    let (_, mut above) = (names.next()?, names.next()?);
    if above.starts_with(b"@") {
        above = names.next()?;
    }
    (above == b"node_modules").then_some(("npm", metadata::npm as Reader))
}

/// Hands every file of the system's packages to `owned`.
fn without_owned(
    root: &Root<'_>,
    manager: Manager,
    owned: &mut dyn FnMut(&str),
) -> Result<(), ScanError> {
    match manager {
        Manager::Rpm => rpm::files(root, owned)?,
        Manager::Apk => {
            for path in apk::PLACES {
                let bytes = root.read(path, MOST_LIST)?.unwrap_or_default();
                apk::files(&String::from_utf8_lossy(&bytes))
                    .for_each(|path| owned(&format!("/{path}")));
            }
        }
        Manager::Dpkg => {
            let Some(directory) = root.resolve(dpkg::INFO) else {
                return Ok(());
            };
            for (path, file) in root.children(&directory) {
                if path.ends_with(b".list") && file.kind == Kind::File {
                    let bytes = root.content(path, file, MOST_LIST)?;
                    let list = String::from_utf8_lossy(&bytes);
                    list.lines().for_each(&mut *owned);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::Planted;

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
}
