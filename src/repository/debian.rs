//! Packages that a suite of a Debian archive offers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::packages::unpack;
use super::{ArchiveError, below, state};
use crate::distro::debian::index::{self, Newest};
use crate::distro::debian::release::{ListedFile, Release};
use crate::fetch::Cache;
use crate::os::hash_stream;
use crate::plan::Checksum;
use crate::record::lock::{Archive, Lock};
use crate::ui::Ui;

/// Names and versions of locked packages.
type Locked = BTreeSet<(String, String)>;

/// Returns the newest version of each locked package that the suite has.
pub(super) async fn offered(
    archive: &Archive,
    lock: &Lock,
    cache: &Cache,
    ui: &Ui,
) -> Result<Newest, ArchiveError> {
    let locked = lock.packages.iter();
    let locked = locked.map(|package| (package.name.clone(), package.version.clone()));
    let locked: Arc<Locked> = Arc::new(locked.collect());
    let (path, _) = state(archive, lock.request.manager, cache).await?;
    let release = release(archive, &path)?;
    let mut offered = Newest::new();
    for listed in used_indices(&release, archive, &architectures(lock)) {
        let path = fetch(listed, &release, archive, cache, ui).await?;
        let found = search(path, listed, &locked, release.not_automatic)
            .await
            .map_err(ArchiveError::unpack(archive, &listed.path))?;
        for ((name, architecture), version) in &found {
            index::record_version(&mut offered, (name, architecture), version);
        }
    }
    Ok(offered)
}

/// Returns the architectures whose indices the lock needs, by their Debian names.
fn architectures(lock: &Lock) -> BTreeSet<String> {
    let own = match lock.request.architecture.as_deref() {
        Some("x86_64") => Some("amd64"),
        Some("aarch64") => Some("arm64"),
        _ => None,
    };
    let of_packages = lock.packages.iter().map(|package| &package.architecture);
    let real = of_packages.filter(|architecture| *architecture != "all");
    real.cloned().chain(own.map(str::to_owned)).collect()
}

fn release(archive: &Archive, path: &Path) -> Result<Release, ArchiveError> {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.parse().map_err(|source| ArchiveError::Release {
        uri: archive.uri.clone(),
        suite: archive.suite.clone(),
        source,
    })
}

/// Returns the indices of the components that the lock uses.
fn used_indices<'r>(
    release: &'r Release,
    archive: &Archive,
    architectures: &BTreeSet<String>,
) -> Vec<&'r ListedFile> {
    let is_used = |listed: &&ListedFile| {
        let component = listed.path.split("/binary-").next().unwrap_or_default();
        // A source may write `updates/main` where the release has `main`, as in Debian's security archive.
        archive.components.is_empty()
            || !listed.path.contains('/')
            || archive
                .components
                .iter()
                .any(|used| used == component || used.ends_with(&format!("/{component}")))
    };
    let mut all: Vec<_> = architectures
        .iter()
        .map(String::as_str)
        .chain(release.separate_all.then_some("all"))
        .flat_map(|architecture| release.indices(architecture))
        .filter(is_used)
        .collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all.dedup();
    all
}

/// Fetches an index, by digest if its name fails: an archive may replace its indices meanwhile, and many keep the old
/// ones for a while.
async fn fetch(
    listed: &ListedFile,
    release: &Release,
    archive: &Archive,
    cache: &Cache,
    ui: &Ui,
) -> Result<PathBuf, ArchiveError> {
    let checksum = Checksum::Sha256(listed.digest);
    let mut fetched = cache
        .fetch(&below(archive, &listed.path), &checksum, ui)
        .await;
    if release.by_hash && fetched.is_err() {
        let directory = listed
            .path
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        let path = format!("{directory}/by-hash/SHA256/{}", listed.digest.hex());
        let url = below(archive, path.trim_start_matches('/'));
        // If this fails too, the first failure is reported.
        fetched = cache.fetch(&url, &checksum, ui).await.or(fetched);
    }
    let (path, _) = fetched.map_err(ArchiveError::fetch(&archive.uri))?;
    Ok(path)
}

async fn search(
    path: PathBuf,
    listed: &ListedFile,
    locked: &Arc<Locked>,
    not_automatic: bool,
) -> io::Result<Newest> {
    let (name, locked) = (listed.path.clone(), Arc::clone(locked));
    hash_stream::blocking(move |stop| {
        let bytes = unpack(File::open(path)?, &name)?;
        stop.check()?;
        let text = String::from_utf8_lossy(&bytes);
        // apt never installs from such an archive (backports) unasked, but upgrades packages that came from it.
        let names = if not_automatic {
            index::offering(&text, &locked)
        } else {
            locked.iter().map(|(name, _)| name.as_str()).collect()
        };
        Ok(index::newest(&text, |name, _| names.contains(name)))
    })
    .await
}
