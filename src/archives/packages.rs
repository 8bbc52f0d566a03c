//! Newer versions of what is locked, out of the archives' own indices.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;

use super::{AT_ONCE, ArchiveError, below, state};
use crate::debian::index::{self, Newest};
use crate::debian::release::{Listed, Release};
use crate::fetch::Cache;
use crate::hashing;
use crate::lock::{Archive, Lock, Manager, Package};
use crate::plan::Checksum;
use crate::ui::Ui;

/// An index that unpacks to more than this is none: Debian's largest has 60 MiB.
const LARGEST_INDEX: u64 = 1 << 30;

/// Names and versions.
type Locked = BTreeSet<(String, String)>;

/// A locked package that has a newer version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Outdated {
    /// Its name.
    pub name: String,
    /// Its architecture, as it is locked.
    pub architecture: String,
    /// The version that is locked.
    pub locked: String,
    /// The newest version of the archives.
    pub newest: String,
}

/// Finds the locked packages that have newer versions, in order of name.
///
/// # Errors
/// See [`ArchiveError`].
pub async fn outdated(lock: &Lock, cache: &Cache, ui: &Ui) -> Result<Vec<Outdated>, ArchiveError> {
    match lock.request.manager {
        None | Some(Manager::Apt) => {}
        Some(other @ Manager::Dnf) => return Err(ArchiveError::Manager(other)),
    }
    let locked = lock.packages.iter();
    let locked = locked.map(|package| (package.name.clone(), package.version.clone()));
    let locked: Arc<Locked> = Arc::new(locked.collect());
    let architectures = architectures(lock);
    let asked = lock.archives.iter().map(async |archive| {
        let (path, _) = state(archive, lock.request.manager, cache).await?;
        let release = release(archive, &path)?;
        let mut offered = Newest::new();
        for listed in wanted(&release, archive, &architectures) {
            let path = fetch(listed, &release, archive, cache, ui).await?;
            let found = search(path, listed, &locked, release.not_automatic).await;
            let found = found.map_err(|source| ArchiveError::Unpack {
                uri: archive.uri.clone(),
                path: listed.path.clone(),
                source,
            })?;
            merge(&mut offered, &found);
        }
        Ok(offered)
    });
    let answers: Vec<Result<_, ArchiveError>> =
        stream::iter(asked).buffered(AT_ONCE).collect().await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(compare(lock, &answers))
}

/// Debian's names for what the lock needs indices of.
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
    let parsed = String::from_utf8_lossy(&text).parse();
    parsed.map_err(|source| ArchiveError::Release {
        uri: archive.uri.clone(),
        suite: archive.suite.clone(),
        source,
    })
}

/// The indices of the archive's components that were used.
fn wanted<'r>(
    release: &'r Release,
    archive: &Archive,
    architectures: &BTreeSet<String>,
) -> Vec<&'r Listed> {
    let is_used = |listed: &&Listed| {
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
        .chain([&"all".to_owned()])
        .flat_map(|architecture| release.indices(architecture))
        .filter(is_used)
        .collect();
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all.dedup();
    all
}

/// By digest where the archive has that: it may replace its indices while they are fetched.
async fn fetch(
    listed: &Listed,
    release: &Release,
    archive: &Archive,
    cache: &Cache,
    ui: &Ui,
) -> Result<std::path::PathBuf, ArchiveError> {
    let checksum = Checksum::Sha256(listed.digest);
    if release.by_hash {
        let directory = listed
            .path
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        let path = format!("{directory}/by-hash/SHA256/{}", listed.digest.hex());
        let url = below(archive, path.trim_start_matches('/'));
        if let Ok((path, _)) = cache.fetch(&url, &checksum, ui).await {
            return Ok(path);
        }
    }
    let fetched = cache
        .fetch(&below(archive, &listed.path), &checksum, ui)
        .await;
    let (path, _) = fetched.map_err(ArchiveError::fetch(&archive.uri))?;
    Ok(path)
}

async fn search(
    path: std::path::PathBuf,
    listed: &Listed,
    locked: &Arc<Locked>,
    not_automatic: bool,
) -> io::Result<Newest> {
    let (name, locked) = (listed.path.clone(), Arc::clone(locked));
    hashing::blocking(move |stop| {
        let bytes = unpack(&std::fs::File::open(path)?, &name)?;
        stop.check()?;
        let text = String::from_utf8_lossy(&bytes);
        // apt takes nothing of such an archive (backports) unasked, but goes on with what was taken from it.
        let names = if not_automatic {
            index::offering(&text, &locked)
        } else {
            locked.iter().map(|(name, _)| name.as_str()).collect()
        };
        Ok(index::newest(&text, |name, _| names.contains(name)))
    })
    .await
}

/// The bytes of an index, as the ending of its name says.
fn unpack(packed: impl Read, name: &str) -> io::Result<Vec<u8>> {
    let reader: Box<dyn Read> = match Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str())
    {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Some("xz") => Box::new(lzma_rust2::XzReader::new(packed, true)),
        _ => Box::new(packed),
    };
    let mut bytes = Vec::new();
    reader.take(LARGEST_INDEX).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == LARGEST_INDEX {
        return Err(io::Error::other("it is longer than any index"));
    }
    Ok(bytes)
}

fn merge(all: &mut Newest, more: &Newest) {
    for ((name, architecture), version) in more {
        index::keep(all, (name, architecture), version);
    }
}

/// What the archives offer, against what is locked.
fn compare(lock: &Lock, answers: &[Newest]) -> Vec<Outdated> {
    let outdated = lock.packages.iter().filter_map(|package| {
        let offered = answers
            .iter()
            .filter_map(|offered| newest_of(package, offered));
        let newest = offered.reduce(newer)?;
        index::is_newer(newest, &package.version).then(|| Outdated {
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            locked: package.version.clone(),
            newest: newest.to_owned(),
        })
    });
    let mut outdated: Vec<_> = outdated.collect();
    outdated.sort();
    outdated
}

fn newer<'o>(a: &'o str, b: &'o str) -> &'o str {
    if index::is_newer(b, a) { b } else { a }
}

/// A package may come to have an architecture, or to have none any more.
fn newest_of<'o>(package: &Package, offered: &'o Newest) -> Option<&'o str> {
    let found = offered
        .iter()
        .filter(|((name, architecture), _)| {
            *name == package.name
                && (*architecture == package.architecture
                    || architecture == "all"
                    || package.architecture == "all")
        })
        .map(|(_, version)| version.as_str());
    found.reduce(newer)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_index_is_unpacked_as_its_name_says() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"Package: a\n").unwrap();
        let gz = gz.finish().unwrap();
        // `printf 'Package: a\n' | xz`
        let xz = data_encoding::BASE64
            .decode(b"/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAKUGFja2FnZTogYQoAAH27YeIOsM7uAAEjC8Ib/QkftvN9AQAAAAAEWVo=");
        for (name, bytes) in [
            ("P.gz", gz),
            ("P.xz", xz.unwrap_or_default()),
            ("P", b"Package: a\n".to_vec()),
        ] {
            assert_eq!(unpack(&bytes[..], name).unwrap(), b"Package: a\n", "{name}");
            if name != "P" {
                unpack(&bytes[..bytes.len() - 9], name).unwrap_err();
            }
        }
    }
}
