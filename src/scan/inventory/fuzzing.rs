//! Entry points of the fuzz targets in `tests/fuzz` and of `make soak`. Each returns whether the bytes were accepted.

use super::{read, rpm};
use crate::scan::integrity;
use crate::scan::planted::Planted;

/// Reads a status file of dpkg.
#[must_use]
pub fn status(bytes: &[u8]) -> bool {
    has_packages("/var/lib/dpkg/status", bytes)
}

/// Reads Alpine's package database.
#[must_use]
pub fn apk(bytes: &[u8]) -> bool {
    has_packages("/lib/apk/db/installed", bytes)
}

/// Reads RPM's database, a `SQLite` file.
#[must_use]
pub fn sqlite(bytes: &[u8]) -> bool {
    has_packages("/var/lib/rpm/rpmdb.sqlite", bytes)
}

/// Reads an RPM package header.
#[must_use]
pub fn header(bytes: &[u8]) -> bool {
    rpm::of_header(bytes).is_some()
}

/// Reads the build information of an executable.
#[must_use]
pub fn program(bytes: &[u8]) -> bool {
    has_language_package("/usr/local/bin/program", bytes)
}

/// Reads the metadata of a Python package.
#[must_use]
pub fn python(bytes: &[u8]) -> bool {
    has_language_package("/x.dist-info/METADATA", bytes)
}

/// Reads the metadata of an npm package.
#[must_use]
pub fn npm(bytes: &[u8]) -> bool {
    has_language_package("/node_modules/x/package.json", bytes)
}

fn has_packages(path: &str, bytes: &[u8]) -> bool {
    let tree = Planted::default().file(path, 0o755, bytes);
    // Paths and checksums are parsed by another reader.
    let verified = integrity::verify(&tree.root()).is_ok();
    verified && read(&tree.root()).is_ok_and(|found| !found.packages.is_empty())
}

fn has_language_package(path: &str, bytes: &[u8]) -> bool {
    let tree = Planted::default().file(path, 0o755, bytes);
    read(&tree.root()).is_ok_and(|found| !found.language.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::{language, rpm};
    use super::*;
    use crate::scan::testing::{soak, test_data};

    #[test]
    fn damaged_databases_of_packages_give_packages_or_an_error() {
        let real = std::fs::read(test_data("dpkg/debian12.status")).unwrap();
        soak("dpkg status", &real, status);
        let paragraph = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nF:lib\nR:ld.so\n\n";
        soak("apk", paragraph.repeat(9).as_bytes(), apk);
        soak("rpm database", &rpm::tests::sample(), sqlite);
        soak("rpm header", &rpm::tests::sample_header(), header);
    }

    #[test]
    fn damaged_packages_of_languages_give_something_or_nothing() {
        soak(
            "go program",
            &language::tests::go_program("example.org/a"),
            program,
        );
        soak("rust program", &language::tests::rust_program(), program);
        let metadata = b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\nLicense: MIT\n\nbody\n";
        soak("python", metadata, python);
        let package = br#"{"name": "@a/b", "version": "1.0.0", "license": {"type": "MIT"}, "more": [1, null]}"#;
        soak("npm", package, npm);
    }
}
