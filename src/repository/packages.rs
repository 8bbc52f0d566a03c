//! Newer versions of what is locked, out of the archives' own indices.

use std::io::{self, Read};
use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;

use super::{AT_ONCE, ArchiveError, debian, rpm};
use crate::distro::debian::index::{self, Newest};
use crate::fetch::Cache;
use crate::record::lock::{Lock, LockedPackage, Manager};
use crate::ui::Ui;

/// An index that unpacks to more than this is none: Debian's largest has 60 MiB.
const LARGEST_INDEX: u64 = 1 << 30;

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

/// Whether the first of two versions is newer.
type IsNewer = fn(&str, &str) -> bool;

/// Finds the locked packages that have newer versions, in order of name.
///
/// # Errors
/// See [`ArchiveError`].
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
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(compare(lock, &answers, is_newer))
}

/// The bytes of an index, as the ending of its name says.
pub(super) fn unpack(packed: impl Read, name: &str) -> io::Result<Vec<u8>> {
    let reader: Box<dyn Read> = match Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str())
    {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(packed)),
        Some("xz") => Box::new(lzma_rust2::XzReader::new(packed, true)),
        Some("zst") => Box::new(zstd::Decoder::new(packed)?),
        _ => Box::new(packed),
    };
    let mut bytes = Vec::new();
    reader.take(LARGEST_INDEX).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == LARGEST_INDEX {
        return Err(io::Error::other("it is longer than any index"));
    }
    Ok(bytes)
}

/// What the archives offer, against what is locked.
fn compare(lock: &Lock, answers: &[Newest], is_newer: IsNewer) -> Vec<Outdated> {
    let outdated = lock.packages.iter().filter_map(|package| {
        let offered = answers
            .iter()
            .flatten()
            .filter(|(key, _)| is_of(package, key));
        let offered = offered.map(|(_, version)| version.as_str());
        let newest = offered.reduce(|a, b| if is_newer(b, a) { b } else { a })?;
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

/// A package may come to have an architecture, or to have none any more.
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
