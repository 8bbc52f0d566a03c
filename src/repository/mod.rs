//! Current state of the package archives of a lock. No machine is booted and no signature is verified: the answer tells
//! whether to lock again, never what to install.

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
use crate::record::lock::{Archive, Lock, Manager};

/// A template has a handful of archives.
const PARALLEL_ARCHIVES: usize = 8;

#[derive(Debug, Error, Diagnostic)]
pub enum ArchiveError {
    #[error("cannot query the archive {uri}")]
    #[diagnostic(help("the lock file is unchanged; check the network, or try again later"))]
    Fetch {
        uri: String,
        source: Box<FetchError>,
    },
    #[error("the archive {uri} has no release file for suite {suite:?}")]
    #[diagnostic(help("check that the URI in the machine's package sources points to an archive"))]
    Release {
        uri: String,
        suite: String,
        source: InvalidRelease,
    },
    #[error("cannot unpack {path} of the archive {uri}")]
    #[diagnostic(help(
        "the file has the digest that the archive lists, so the archive itself is broken"
    ))]
    Unpack {
        uri: String,
        path: String,
        source: std::io::Error,
    },
    #[error("the repository {0} has no package index with a SHA-256")]
    #[diagnostic(help(
        "check that the URI points to a repository, the directory above `repodata`"
    ))]
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

    fn unpack(archive: &Archive, path: &str) -> impl FnOnce(std::io::Error) -> Self {
        let (uri, path) = (archive.uri.clone(), path.to_owned());
        |source| Self::Unpack { uri, path, source }
    }
}

/// Returns the archives of a lock that changed since it was made: one request to each, in parallel.
pub async fn changed<'l>(lock: &'l Lock, cache: &Cache) -> Result<Vec<&'l Archive>, ArchiveError> {
    let asked = lock.archives.iter().map(async |archive| {
        let (_, digest) = state(archive, lock.request.manager, cache).await?;
        Ok((digest != archive.in_release).then_some(archive))
    });
    let answers: Vec<_> = stream::iter(asked)
        .buffered(PARALLEL_ARCHIVES)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

/// Fetches the current signed index of an archive.
async fn state(
    archive: &Archive,
    manager: Option<Manager>,
    cache: &Cache,
) -> Result<(std::path::PathBuf, Digest), ArchiveError> {
    let url = below(archive, signed_index(manager));
    cache
        .current(&url)
        .await
        .map_err(ArchiveError::fetch(&archive.uri))
}

fn signed_index(manager: Option<Manager>) -> &'static str {
    match manager {
        Some(Manager::Apt) | None => "InRelease",
        Some(Manager::Dnf) => "repomd.xml",
    }
}

/// Returns the URL of a file of a suite. A suite that ends with a slash is a path; RPM repositories have no suite.
fn below(archive: &Archive, file: &str) -> String {
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
            let archive = Archive {
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
