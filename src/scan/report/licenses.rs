//! Licences of packages, from package databases and Debian's machine-readable copyright files.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::inventory::{Inventory, Manager};
use crate::scan::{Root, ScanError};

/// The largest copyright files of Debian (Chromium's, Linux's) have a few MiB.
const MAX_COPYRIGHT_BYTES: u64 = 16 << 20;
/// A longer list of licences is meaningless.
const MAX_LICENSES: usize = 64;
/// Rows of Debian's short names (`copyright-format/1.0`) and their SPDX identifiers.
const SPDX: &str = include_str!("spdx.tsv");

/// Licence names by package, sorted.
pub type Licenses = BTreeMap<String, BTreeSet<String>>;

/// Reads the licences of the packages of an inventory. Packages without a machine-readable copyright file are left out.
pub fn read(root: &Root<'_>, inventory: &Inventory) -> Result<Licenses, ScanError> {
    let mut licenses = Licenses::new();
    for package in &inventory.packages {
        let mut names = BTreeSet::new();
        if !package.license.is_empty() {
            names.insert(package.license.clone());
        } else if package.manager == Manager::Dpkg {
            let path = format!("/usr/share/doc/{}/copyright", package.name);
            let text = root
                .read(path.as_bytes(), MAX_COPYRIGHT_BYTES)?
                .unwrap_or_default();
            names = of_copyright(&String::from_utf8_lossy(&text));
        }
        if !names.is_empty() {
            licenses.insert(package.name.clone(), names);
        }
    }
    Ok(licenses)
}

/// Returns the SPDX identifier of a licence by its Debian name.
pub fn spdx(name: &str) -> Option<&'static str> {
    let mut rows = SPDX.lines().filter_map(|row| row.split_once('\t'));
    let found = rows.find(|(debian, id)| *debian == name || *id == name);
    found.map(|(_, id)| id)
}

/// Returns the licences of the `License` fields of a copyright file, with choices split.
fn of_copyright(text: &str) -> BTreeSet<String> {
    let machine_readable = text.lines().next().is_some_and(|line| {
        let field = line
            .split_once(':')
            .map(|(name, _)| name.to_ascii_lowercase());
        matches!(field.as_deref(), Some("format" | "format-specification"))
    });
    if !machine_readable {
        return BTreeSet::new();
    }
    let fields = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("license").then_some(value)
    });
    let names = fields.flat_map(names);
    names.take(MAX_LICENSES).collect()
}

/// Splits a field: `GPL-2+ or Artistic, and Expat` names three licences. Exceptions (`with`) stay with their licence.
fn names(field: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), Vec::new());
    for word in field.split_whitespace() {
        let ends = word.ends_with(',');
        let word = word.trim_end_matches(',');
        if ["or", "and", "and/or"].contains(&word) {
            names.push(std::mem::take(&mut name).join(" "));
            continue;
        }
        name.push(word);
        if ends {
            names.push(std::mem::take(&mut name).join(" "));
        }
    }
    names.push(name.join(" "));
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::inventory::Package;
    use crate::scan::testing::{Planted, package};

    #[test]
    fn a_copyright_file_names_its_licences() {
        let format = "Format: https://example.org/copyright-format/1.0/\n";
        for (text, expected) in [
            (
                "License: GPL-2+ or Artistic, and Expat\n text\n\nLicense: GPL-2+\n",
                vec!["Artistic", "Expat", "GPL-2+"],
            ),
            (
                "Files: *\nLicense: GPL-2+ with OpenSSL exception\n",
                vec!["GPL-2+ with OpenSSL exception"],
            ),
            ("Files: *\nlicense:\n text\n", vec![]),
            ("Comment: License: none\n", vec![]),
        ] {
            let found = of_copyright(&format!("{format}\n{text}"));
            assert_eq!(
                found.iter().map(String::as_str).collect::<Vec<_>>(),
                expected,
                "{text}"
            );
        }
        assert!(
            of_copyright("This package is\nLicense: GPL\n").is_empty(),
            "for people"
        );
    }

    #[test]
    fn licences_come_from_the_package_or_its_documentation() {
        let package = |name: &str, manager, license: &str| Package {
            license: license.to_owned(),
            ..package(manager, name, "1")
        };
        let planted = Planted::default()
            .file(
                "/usr/share/doc/one/copyright",
                0o644,
                "Format: x\n\nLicense: Expat\n",
            )
            .link("/usr/share/doc/two", "one");
        let inventory = Inventory {
            packages: vec![
                package("one", Manager::Dpkg, ""),
                package("two", Manager::Dpkg, ""),
                package("three", Manager::Dpkg, ""),
                package("four", Manager::Rpm, "MIT and BSD"),
            ],
            ..Inventory::default()
        };
        let licenses = read(&planted.root(), &inventory).unwrap();
        let of = |name: &str| {
            licenses
                .get(name)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect::<Vec<_>>()
        };
        assert_eq!([of("one"), of("two")], [["Expat"], ["Expat"]]);
        assert_eq!((of("three"), of("four")), (vec![], vec!["MIT and BSD"]));
        assert_eq!(spdx("Expat"), Some("MIT"));
    }
}
