//! Packages that an RPM repository offers.

use std::fs::File;
use std::io;

use super::packages::unpack;
use super::{ArchiveError, state};
use crate::distro::debian::index::Newest;
use crate::distro::rpm::repository;
use crate::distro::rpm::version::Version;
use crate::fetch::Cache;
use crate::os::hash_stream;
use crate::plan::Checksum;
use crate::record::lock::{Archive, Lock};
use crate::ui::Ui;

pub(super) fn is_newer(offered: &str, have: &str) -> bool {
    Version::new(offered) > Version::new(have)
}

/// Returns the newest version of each locked package that the repository has.
pub(super) async fn offered(
    archive: &Archive,
    lock: &Lock,
    cache: &Cache,
    ui: &Ui,
) -> Result<Newest, ArchiveError> {
    let (path, _) = state(archive, lock.request.manager, cache).await?;
    let repomd = std::fs::read(path).unwrap_or_default();
    let primary = repository::primary(&String::from_utf8_lossy(&repomd))
        .ok_or_else(|| ArchiveError::Repository(archive.uri.clone()))?;
    let url = format!("{}/{}", archive.uri.trim_end_matches('/'), primary.path);
    let checksum = Checksum::Sha256(primary.digest);
    let (path, _) = cache
        .fetch(&url, &checksum, ui)
        .await
        .map_err(ArchiveError::fetch(&archive.uri))?;
    let (name, packages) = (primary.path.clone(), lock.packages.clone());
    let found = hash_stream::blocking(move |stop| {
        let bytes = unpack(File::open(path)?, &name)?;
        stop.check()?;
        let offered = repository::packages(&String::from_utf8_lossy(&bytes))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut newest = Newest::new();
        for package in offered {
            if packages.iter().any(|locked| locked.name == package.name) {
                let key = (package.name, package.architecture);
                let known = newest.entry(key).or_insert_with(|| package.version.clone());
                if is_newer(&package.version, known) {
                    *known = package.version;
                }
            }
        }
        Ok(newest)
    });
    found
        .await
        .map_err(ArchiveError::unpack(archive, &primary.path))
}
