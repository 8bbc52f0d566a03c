//! Alpine's package database: lines of `P:name`, `V:version`, `o:origin` and so on, with a blank line after each package.

use super::{Manager, Package};
use crate::scan::{Root, ScanError};

/// Size of a database with all packages of Alpine.
const MAX_DATABASE_BYTES: u64 = 256 << 20;
/// Longest path that Linux accepts (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;

/// Paths of the database; the second since the merge of `/lib` into `/usr/lib`.
pub const PATHS: [&[u8]; 2] = [b"/lib/apk/db/installed", b"/usr/lib/apk/db/installed"];

/// Reads the installed packages; `None` without a database.
pub fn read(root: &Root<'_>) -> Result<Option<Vec<Package>>, ScanError> {
    Ok(database(root)?.map(|database| database.packages))
}

/// Alpine's database with its text.
pub struct Database {
    pub path: &'static [u8],
    pub text: String,
    /// Packages in the order of the paragraphs.
    pub packages: Vec<Package>,
}

/// Reads the database; `None` without one.
pub fn database(root: &Root<'_>) -> Result<Option<Database>, ScanError> {
    for path in PATHS {
        if let Some(bytes) = root.read(path, MAX_DATABASE_BYTES)? {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let packages = parse(&text).map_err(|problem| ScanError::damaged(path, problem))?;
            return Ok(Some(Database {
                path,
                text,
                packages,
            }));
        }
    }
    Ok(None)
}

/// Splits a database into the paragraphs of its packages.
pub fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    let paragraphs = text.split("\n\n");
    paragraphs.filter(|paragraph| !paragraph.trim_ascii().is_empty())
}

fn parse(text: &str) -> Result<Vec<Package>, String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("truncated file".to_owned());
    }
    let mut packages = Vec::new();
    for paragraph in paragraphs(text) {
        let field = |letter: char| {
            let mut lines = paragraph.lines();
            lines.find_map(|line| line.strip_prefix(letter)?.strip_prefix(':'))
        };
        let name = field('P').ok_or("package without a name")?;
        let version = field('V').ok_or_else(|| format!("package {name} has no version"))?;
        packages.push(Package {
            manager: Manager::Apk,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: field('A').unwrap_or_default().to_owned(),
            source: field('o').unwrap_or(name).to_owned(),
            source_version: version.to_owned(),
            status: String::new(),
            license: field('L').unwrap_or_default().to_owned(),
        });
    }
    Ok(packages)
}

/// A file of a package.
pub struct PackageFile<'a> {
    pub path: String,
    /// Encoded checksum, if recorded.
    pub sum: Option<&'a str>,
}

/// Returns every file in a part of the database.
pub fn package_files(text: &str) -> impl Iterator<Item = PackageFile<'_>> {
    let mut directory = "";
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            if let Some(path) = line.strip_prefix("F:") {
                directory = path;
            }
            let Some(name) = line.strip_prefix("R:") else {
                continue;
            };
            if directory.len() + name.len() > MAX_PATH_BYTES {
                continue;
            }
            // A file's attributes and checksum follow its name.
            let mut sum = None;
            while let Some(line) =
                lines.next_if(|line| line.starts_with("a:") || line.starts_with("Z:"))
            {
                sum = sum.or(line.strip_prefix("Z:"));
            }
            let slash = if directory.is_empty() { "" } else { "/" };
            let path = format!("{slash}{directory}/{name}");
            return Some(PackageFile { path, sum });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: &str = "C:Q1x=\nP:libcrypto3\nV:3.1.4-r1\nA:x86_64\nL:Apache-2.0\no:openssl\nF:usr/lib\nR:libcrypto.so.3\nZ:Q1\n\nP:musl\nV:1.2.4-r2\nA:x86_64\n\n";

    #[test]
    fn packages_have_the_source_that_they_come_from() {
        let packages = parse(DATABASE).unwrap();
        let [crypto, musl] = &packages[..] else {
            panic!("{packages:?}");
        };
        assert_eq!(
            (crypto.source.as_str(), crypto.source_version.as_str()),
            ("openssl", "3.1.4-r1")
        );
        assert_eq!(crypto.license, "Apache-2.0");
        assert_eq!(musl.source, "musl");
        assert_eq!(
            package_files(DATABASE)
                .map(|entry| (entry.path, entry.sum))
                .collect::<Vec<_>>(),
            [("/usr/lib/libcrypto.so.3".to_owned(), Some("Q1"))]
        );
    }

    #[test]
    fn a_database_that_is_cut_short_is_an_error() {
        for (text, problem) in [
            (&DATABASE[..15], "truncated file"),
            (&DATABASE[..20], "package libcrypto3 has no version"),
            ("C:Q1\n", "package without a name"),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem, "{text:?}");
        }
    }
}
