//! Paths and file checksums from Alpine's package database.

use data_encoding::BASE64;
use md5::{Digest as _, Md5};

use super::database::{Claim, Database, Expected, Package, PathResolver, Record, Relations, exact};
use super::hash::{Algorithm, Checksum};
use super::{Root, SHARED, ScanError};
use crate::scan::inventory::{self, apk};

/// Adds Alpine's packages, if the tree has any.
pub fn read<'a>(
    root: &Root<'a>,
    database: &mut Database,
    places: &mut PathResolver<'a>,
) -> Result<(), ScanError> {
    let Some(apk::Database {
        path: file,
        text,
        packages,
    }) = apk::database(root)?
    else {
        return Ok(());
    };
    let first = database.packages.len();
    let mut relations = Relations::default();
    for (package, paragraph) in packages.into_iter().zip(apk::paragraphs(&text)) {
        database.add_paragraph(file, paragraph, &package, places);
        let field = |letter: &str| {
            let mut lines = paragraph.lines();
            let text = lines.find_map(|line| line.strip_prefix(letter)?.strip_prefix(':'));
            text.unwrap_or_default().split_whitespace()
        };
        let is_conflict = |relation: &&str| relation.starts_with('!');
        let needs = field("D")
            .filter(|relation| !is_conflict(relation))
            .map(bare);
        let provides = field("p").map(bare).chain([package.name.clone()]);
        database.text += relations.add(provides, needs);
        database.packages.push(Package {
            name: package.name,
            version: package.version,
            architecture: package.architecture,
            needs: Vec::new(),
        });
        database.check_size(file)?;
    }
    database.resolve(first, &relations, places);
    Ok(())
}

impl Database {
    fn add_paragraph(
        &mut self,
        file: &[u8],
        text: &str,
        of: &inventory::Package,
        places: &mut PathResolver<'_>,
    ) {
        let package = self.number(&of.name);
        for apk::PackageFile { path, sum } in apk::package_files(text) {
            let real = self.set_owner(places.resolve(path.as_bytes()), package);
            let sum = sum.and_then(checksum);
            if let Some(sum) = sum.filter(|_| !SHARED.contains(&path.as_str())) {
                self.claims.push(Claim {
                    conffile: path.starts_with("/etc/") && !path.starts_with("/etc/init.d/"),
                    path: real,
                    expected: Expected::File(sum),
                    package,
                    obsolete: false,
                });
            }
        }
        self.records.push(Record {
            path: file.into(),
            package: of.name.clone(),
            version: exact(of),
            sum: Md5::digest(text).into(),
            scripts: String::new(),
        });
    }
}

/// Parses a base64 checksum: SHA-1 after `Q1`, SHA-256 after `Q2`. Truncated digests are rejected.
fn checksum(text: &str) -> Option<Checksum> {
    let (algorithm, digits) = match text.split_at_checked(2)? {
        ("Q1", digits) => (Algorithm::Sha1, digits),
        ("Q2", digits) => (Algorithm::Sha256, digits),
        _ => return None,
    };
    Checksum::new(algorithm, &BASE64.decode(digits.as_bytes()).ok()?)
}

/// Removes the version of a relation.
fn bare(relation: &str) -> String {
    let name = relation.split(['=', '<', '>', '~']).next();
    name.unwrap_or_default().to_owned()
}
