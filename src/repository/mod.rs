//! What the archives of a lock hold now. No machine is booted and no signature is checked: what is found here tells
//! whether to look again, never what is installed.

mod debian;
mod packages;
mod rpm;

use futures_util::StreamExt as _;
use futures_util::stream;
use miette::Diagnostic;
use thiserror::Error;

pub use packages::{Outdated, outdated};

use crate::digest::Digest;
use crate::distro::debian::release::InvalidRelease;
use crate::fetch::{Cache, FetchError};
use crate::record::lock::{Lock, LockedArchive, Manager};

/// Archives that are asked at once. A template has a handful.
const AT_ONCE: usize = 8;

/// Why the archives do not tell.
#[derive(Debug, Error, Diagnostic)]
pub enum ArchiveError {
    /// An archive did not answer, or not with what it should.
    #[error("cannot ask the archive {uri}")]
    #[diagnostic(help(
        "what is locked is not touched by this; check the network, or try again later"
    ))]
    Fetch {
        /// Where it is.
        uri: String,
        /// Why.
        source: Box<FetchError>,
    },
    /// What it answered is no release file.
    #[error("the archive {uri} has no release file of the suite {suite:?}")]
    #[diagnostic(help("does the URI in the machine's package sources lead to an archive?"))]
    Release {
        /// Where it is.
        uri: String,
        /// Which suite was looked for.
        suite: String,
        /// Why.
        source: InvalidRelease,
    },
    /// An index cannot be unpacked.
    #[error("cannot unpack {path} of the archive {uri}")]
    #[diagnostic(help(
        "it has the digest that the archive names, so the archive itself is broken"
    ))]
    Unpack {
        /// Where it is.
        uri: String,
        /// Which index.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// An index of RPM that names no list of packages.
    #[error("the repository {0} has no index of packages with a SHA-256")]
    #[diagnostic(help("does the address lead to a repository, above `repodata`?"))]
    Repository(String),
}

impl ArchiveError {
    fn fetch(uri: &str) -> impl FnOnce(FetchError) -> Self {
        let uri = uri.to_owned();
        |source| Self::Fetch {
            uri,
            source: Box::new(source),
        }
    }

    fn unpack(archive: &LockedArchive, path: &str) -> impl FnOnce(std::io::Error) -> Self {
        let (uri, path) = (archive.uri.clone(), path.to_owned());
        |source| Self::Unpack { uri, path, source }
    }
}

/// The archives of a lock that are no longer as they were when it was made: one question to each, all at once.
///
/// # Errors
/// An archive does not answer.
pub async fn changed<'l>(
    lock: &'l Lock,
    cache: &Cache,
) -> Result<Vec<&'l LockedArchive>, ArchiveError> {
    let asked = lock.archives.iter().map(async |archive| {
        let (_, digest) = state(archive, lock.request.manager, cache).await?;
        Ok((digest != archive.in_release).then_some(archive))
    });
    let answers: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

/// The signed index of an archive as it is now.
async fn state(
    archive: &LockedArchive,
    manager: Option<Manager>,
    cache: &Cache,
) -> Result<(std::path::PathBuf, Digest), ArchiveError> {
    let url = below(archive, signed_index(manager));
    let current = cache.current(&url).await;
    current.map_err(ArchiveError::fetch(&archive.uri))
}

fn signed_index(manager: Option<Manager>) -> &'static str {
    match manager {
        Some(Manager::Apt) | None => "InRelease",
        Some(Manager::Dnf) => "repomd.xml",
    }
}

/// The URL of a file that belongs to a suite. A suite that ends with a slash is a path of its own; RPM's archives
/// have none.
fn below(archive: &LockedArchive, file: &str) -> String {
    let uri = archive.uri.trim_end_matches('/');
    match archive.suite.as_str() {
        "" => format!("{uri}/repodata/{file}"),
        path if path.ends_with('/') => {
            let path = path.trim_matches('/').trim_start_matches("./");
            let gap = if matches!(path, "" | ".") {
                String::new()
            } else {
                format!("{path}/")
            };
            format!("{uri}/{gap}{file}")
        }
        suite => format!("{uri}/dists/{suite}/{file}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_index_of_every_kind_of_archive_is_found() {
        for (uri, suite, url) in [
            (
                "http://a.example.org/debian",
                "bookworm",
                "http://a.example.org/debian/dists/bookworm/InRelease",
            ),
            (
                "http://a.example.org/debian/",
                "bookworm/updates",
                "http://a.example.org/debian/dists/bookworm/updates/InRelease",
            ),
            (
                "http://a.example.org/flat",
                "./",
                "http://a.example.org/flat/InRelease",
            ),
            (
                "http://a.example.org/flat",
                "/",
                "http://a.example.org/flat/InRelease",
            ),
            (
                "http://a.example.org/flat/",
                "a/b/",
                "http://a.example.org/flat/a/b/InRelease",
            ),
            (
                "http://a.example.org/rpm",
                "",
                "http://a.example.org/rpm/repodata/InRelease",
            ),
        ] {
            let archive = LockedArchive {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
                components: vec![],
                in_release: Digest::of(b""),
                date: "2026-01-01T00:00:00Z".parse().unwrap(),
                signed_by: vec![],
            };
            assert_eq!(below(&archive, "InRelease"), url);
        }
    }
}
