//! What an RPM repository offers.

use std::fs::File;

use super::packages::unpack;
use super::{ArchiveError, state};
use crate::distro::debian::index::Newest;
use crate::distro::rpm::repository;
use crate::distro::rpm::version::Version;
use crate::fetch::Cache;
use crate::os::hash_stream;
use crate::plan::Checksum;
use crate::record::lock::{Lock, LockedArchive};
use crate::ui::Ui;

/// Whether `offered` is newer than `have` to RPM.
pub(super) fn is_newer(offered: &str, have: &str) -> bool {
    Version::new(offered) > Version::new(have)
}

/// The newest version of each locked package that the repository has.
pub(super) async fn offered(
    archive: &LockedArchive,
    lock: &Lock,
    cache: &Cache,
    ui: &Ui,
) -> Result<Newest, ArchiveError> {
    let (path, _) = state(archive, lock.request.manager, cache).await?;
    let repomd = std::fs::read(path).unwrap_or_default();
    let primary = repository::primary(&String::from_utf8_lossy(&repomd));
    let primary = primary.ok_or_else(|| ArchiveError::Repository(archive.uri.clone()))?;
    let url = format!("{}/{}", archive.uri.trim_end_matches('/'), primary.path);
    let fetched = cache
        .fetch(&url, &Checksum::Sha256(primary.digest), ui)
        .await;
    let (path, _) = fetched.map_err(ArchiveError::fetch(&archive.uri))?;
    let (name, packages) = (primary.path.clone(), lock.packages.clone());
    let found = hash_stream::blocking(move |stop| {
        let bytes = unpack(&File::open(path)?, &name)?;
        stop.check()?;
        let text = String::from_utf8_lossy(&bytes);
        let mut newest = Newest::new();
        for (name, architecture, version) in repository::packages(&text) {
            if packages.iter().any(|package| package.name == name) {
                let key = (name.to_owned(), architecture.to_owned());
                let known = newest.entry(key).or_insert_with(|| version.clone());
                if is_newer(&version, known) {
                    *known = version;
                }
            }
        }
        Ok(newest)
    });
    found
        .await
        .map_err(ArchiveError::unpack(archive, &primary.path))
}
