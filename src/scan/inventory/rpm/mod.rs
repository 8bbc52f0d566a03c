//! RPM's database: a table of package headers in a `SQLite` file.

use super::{Manager, Package};
use crate::distro::rpm::header as tag;
use crate::distro::sqlite;
use crate::scan::{Root, ScanError};

pub use crate::distro::rpm::header::Header;

/// Directories of the database; the first since RPM 4.17 on most systems.
const DIRECTORIES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
const TABLE: &str = "Packages";
/// File names of the older, unsupported formats.
const OLD_DATABASES: [&str; 2] = ["Packages", "Packages.db"];

/// Reads the installed packages; `None` without a database.
pub fn read(root: &Root<'_>) -> Result<Option<Vec<Package>>, ScanError> {
    let mut packages = Vec::new();
    let found = each(root, &mut |_, header| {
        packages.extend(package(header));
        Ok(())
    })?;
    Ok(found.then_some(packages))
}

/// Passes every file that a package owns to `file`.
pub fn files(root: &Root<'_>, file: &mut dyn FnMut(&str)) -> Result<(), ScanError> {
    let mut each_file = |_: &[u8], header: &Header<'_>| {
        header.files(file);
        Ok(())
    };
    each(root, &mut each_file).map(drop)
}

/// Receives the path of the database and a header.
pub type Take<'a> = dyn FnMut(&[u8], &Header<'_>) -> Result<(), ScanError> + 'a;

/// Passes every header to `take` and returns whether there is a database.
pub fn each(root: &Root<'_>, take: &mut Take<'_>) -> Result<bool, ScanError> {
    for directory in DIRECTORIES {
        let place = |name: &str| root.resolve(format!("{directory}/{name}").as_bytes());
        if let Some(path) = place("rpmdb.sqlite") {
            let Some(file) = root.get(&path) else {
                continue;
            };
            let log = place("rpmdb.sqlite-wal").and_then(|path| root.get(&path));
            if log.is_some_and(|log| log.content.size() > 0) {
                let problem =
                    "uncommitted changes in rpmdb.sqlite-wal: the system was not shut down cleanly";
                return Err(ScanError::damaged(&path, problem));
            }
            let fetch = |at: u64, buffer: &mut [u8]| root.read_at(file, at, buffer);
            let mut failed = None;
            let mut seen = |row: &[u8]| {
                let header = Header::read(row).ok_or("invalid package header")?;
                take(&path, &header).map_err(|error| {
                    failed = Some(error);
                    "see the error above"
                })
            };
            let result = sqlite::rows(&fetch, file.content.size(), TABLE, &mut seen);
            if let Some(error) = failed {
                return Err(error);
            }
            result.map_err(|error| match error {
                sqlite::SqliteError::Read(error) => ScanError::Read(error),
                sqlite::SqliteError::Damaged(problem) => ScanError::damaged(&path, problem),
            })?;
            return Ok(true);
        }
        if let Some(path) = OLD_DATABASES.iter().find_map(|name| place(name)) {
            let problem = "unsupported database format; `rpmdb --rebuilddb` of RPM 4.17 or newer converts it to SQLite";
            return Err(ScanError::damaged(&path, problem));
        }
    }
    Ok(false)
}

/// Reads the package and the files of a header, for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
pub fn of_header(bytes: &[u8]) -> Option<Package> {
    let header = Header::read(bytes)?;
    header.files(&mut |path| {
        std::hint::black_box(path);
    });
    package(&header)
}

/// Returns the package of a header, or `None` for a signing key, which is stored in the same table.
pub fn package(header: &Header<'_>) -> Option<Package> {
    let name = header
        .text(tag::NAME)
        .filter(|name| *name != "gpg-pubkey")?;
    let release = header.text(tag::RELEASE)?;
    let epoch = header.number(tag::EPOCH).filter(|epoch| *epoch > 0);
    let with_epoch = |rest: String| match epoch {
        Some(epoch) => format!("{epoch}:{rest}"),
        None => rest,
    };
    let version = with_epoch(format!("{}-{release}", header.text(tag::VERSION)?));
    let source = header.text(tag::SOURCE).and_then(|file| {
        let stem = file
            .strip_suffix(".src.rpm")
            .or_else(|| file.strip_suffix(".nosrc.rpm"))?;
        let (rest, release) = stem.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        Some((name.to_owned(), with_epoch(format!("{version}-{release}"))))
    });
    let (source, source_version) = source.unwrap_or_else(|| (name.to_owned(), version.clone()));
    Some(Package {
        manager: Manager::Rpm,
        name: name.to_owned(),
        version,
        architecture: header
            .text(tag::ARCHITECTURE)
            .unwrap_or_default()
            .to_owned(),
        source,
        source_version,
        status: String::new(),
        license: header.text(tag::LICENSE).unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
