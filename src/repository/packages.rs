//! Newer versions of locked packages, from the archives' indices.

use std::io::{self, Read};
use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;

use super::{ArchiveError, PARALLEL_ARCHIVES, debian, rpm};
use crate::distro::debian::compressed;
use crate::distro::debian::index::{self, Newest};
use crate::fetch::Cache;
use crate::record::lock::{Lock, LockedPackage, Manager};
use crate::ui::Ui;

/// Debian's largest index has 60 MiB.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// A locked package with a newer version in the archives.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Outdated {
    pub name: String,
    pub architecture: String,
    pub locked: String,
    pub newest: String,
}

/// Compares versions: `true` if the first is newer.
type IsNewer = fn(&str, &str) -> bool;

/// Returns the locked packages with newer versions, sorted by name.
pub async fn outdated(lock: &Lock, cache: &Cache, ui: &Ui) -> Result<Vec<Outdated>, ArchiveError> {
    let is_newer: IsNewer = match lock.request.manager {
        Some(Manager::Dnf) => rpm::is_newer,
        Some(Manager::Apt) | None => index::is_newer,
    };
    let asked = lock
        .archives
        .iter()
        .map(async |archive| match lock.request.manager {
            Some(Manager::Dnf) => rpm::offered(archive, lock, cache, ui).await,
            Some(Manager::Apt) | None => debian::offered(archive, lock, cache, ui).await,
        });
    let answers: Vec<_> = stream::iter(asked)
        .buffered(PARALLEL_ARCHIVES)
        .collect()
        .await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(compare(lock, &answers, is_newer))
}

/// Decompresses an index by its file name extension.
pub(super) fn unpack(packed: impl Read, name: &str) -> io::Result<Vec<u8>> {
    let extension = Path::new(name).extension().unwrap_or_default();
    let reader = compressed::reader(packed, extension.to_str().unwrap_or_default())?;
    let mut bytes = Vec::new();
    reader.take(MAX_INDEX_BYTES).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == MAX_INDEX_BYTES {
        return Err(io::Error::other("the index is larger than 1 GiB"));
    }
    Ok(bytes)
}

/// Compares the offered versions with the locked ones.
fn compare(lock: &Lock, answers: &[Newest], is_newer: IsNewer) -> Vec<Outdated> {
    let outdated = lock.packages.iter().filter_map(|package| {
        let newest = answers
            .iter()
            .flatten()
            .filter(|(key, _)| is_of(package, key))
            .map(|(_, version)| version.as_str())
            .reduce(|a, b| if is_newer(b, a) { b } else { a })?;
        is_newer(newest, &package.version).then(|| Outdated {
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

/// A package may change between `all` and a real architecture.
fn is_of(package: &LockedPackage, (name, architecture): &(String, String)) -> bool {
    let none = |architecture: &str| matches!(architecture, "all" | "noarch");
    let (here, there) = (&package.architecture, architecture);
    *name == package.name && (here == there || none(here) || none(there))
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
            ("P.zst", zstd::encode_all(&b"Package: a\n"[..], 1).unwrap()),
            ("P", b"Package: a\n".to_vec()),
        ] {
            assert_eq!(unpack(&bytes[..], name).unwrap(), b"Package: a\n", "{name}");
            if name != "P" {
                unpack(&bytes[..bytes.len() - 9], name).unwrap_err();
            }
        }
    }
}
