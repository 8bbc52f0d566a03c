//! Batch download: many files, each by its digest, from the cache, a store, mirrors or its archive.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use futures_util::{StreamExt, stream};
use reqwest::{Client, Url};

use super::partial::Partial;
use super::transfer::{self, Redirects, TransferError};
use super::{Cache, FetchError, MAX_PAUSE, PAUSE_FACTOR, attempt, failed};
use crate::backoff::Backoff;
use crate::digest::Digest;
use crate::os::atomic_file::Unfinished;
use crate::os::{hash_stream, if_exists};
use crate::ui::{Bar, Ui};
use crate::url_path;

/// Parallel downloads. More do not use the bandwidth better, and some archives refuse more from one address.
const MAX_PARALLEL: usize = 8;

/// Number of tries with each source of a file. There is a pause between the rounds.
const MAX_ROUNDS: u32 = 3;

/// A file to download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileRequest {
    /// Name that messages use.
    pub name: String,
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// URL in its archive.
    pub url: String,
    /// Path below the archive's URL.
    pub path: String,
}

/// Sources of files besides the cache and their archives.
#[derive(Clone, Copy, Default)]
pub struct FileSources<'a> {
    /// Returns the path that a file would have in the store.
    pub store: Option<&'a dyn Fn(&Digest) -> PathBuf>,
    /// Mirrors, in order of preference.
    pub mirrors: &'a [Mirror],
}

/// A copy of an archive, or an unordered collection of its files: `--mirror`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mirror {
    Directory(PathBuf),
    Url(Url),
}

/// A file that no source has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissingFile {
    pub name: String,
    pub digest: Digest,
    /// Sources that were tried, with the result of each.
    pub reasons: Vec<String>,
}

impl fmt::Display for MissingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.name,
            self.digest,
            self.reasons.join("; ")
        )
    }
}

impl FromStr for Mirror {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            let path = std::path::absolute(text).map_err(|error| error.to_string())?;
            return Ok(Self::Directory(path));
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Url(url)),
            "file" => url
                .to_file_path()
                .map(Self::Directory)
                .map_err(|()| "a `file` URL must name a directory of this host".to_owned()),
            _ => Err("give a directory, or an `http` or `https` URL".to_owned()),
        }
    }
}

impl Mirror {
    /// Returns URLs that the mirror may have a file at: by path in the archive, by name, or by digest.
    fn candidates(&self, wanted: &FileRequest) -> Vec<Url> {
        let hex = wanted.digest.hex();
        let name = wanted.path.rsplit('/').next().unwrap_or_default();
        let paths = [wanted.path.as_str(), name, &hex];
        match self {
            Self::Directory(directory) => {
                let by_digest = format!("sha256/{hex}");
                let paths = paths.into_iter().chain([by_digest.as_str()]);
                let files = paths
                    .map(|path| directory.join(path))
                    .filter(|path| path.is_file());
                files
                    .filter_map(|path| Url::from_file_path(path).ok())
                    .collect()
            }
            Self::Url(url) => {
                let below = |path: &str| {
                    let text = format!(
                        "{}/{}",
                        url.as_str().trim_end_matches('/'),
                        url_path::encode(path)
                    );
                    Url::parse(&text).ok()
                };
                paths.into_iter().filter_map(below).collect()
            }
        }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

/// A URL that may have a file.
struct Source {
    url: Url,
    /// Result of the last try.
    reason: Option<String>,
    /// Set if it is not worth another try.
    is_out: bool,
}

/// State of a batch.
struct Shared<'a> {
    client: Client,
    bar: Bar,
    places: FileSources<'a>,
    /// Number of requests in a row that each server did not answer.
    silent: RefCell<HashMap<String, u32>>,
}

impl Shared<'_> {
    fn is_silent(&self, url: &Url) -> bool {
        self.silent
            .borrow()
            .get(&server(url))
            .is_some_and(|times| *times >= MAX_ROUNDS)
    }

    /// Counts requests without an answer.
    fn note(&self, url: &Url, outcome: &Result<(), TransferError>) {
        let mut silent = self.silent.borrow_mut();
        match outcome {
            Err(TransferError::Line(error)) if error.is_connect() || error.is_timeout() => {
                *silent.entry(server(url)).or_default() += 1;
            }
            _ => drop(silent.insert(server(url), 0)),
        }
    }
}

fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

impl Cache {
    /// Downloads files in parallel, with one bar. A source with wrong bytes, a stalled or a missing one does no harm while another has
    /// the file. The error lists all files that no source has.
    pub(crate) async fn fetch_all(
        &self,
        wanted: &[FileRequest],
        places: FileSources<'_>,
        ui: &Ui,
    ) -> Result<(), FetchError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let client = transfer::client_within(Redirects::Any, self.stalled);
        let shared = Shared {
            client: client.map_err(FetchError::NoClient)?,
            bar: ui.bar(
                &format!("fetching {} packages", wanted.len()),
                Some(wanted.iter().map(|file| file.size).sum()),
            ),
            places,
            silent: RefCell::default(),
        };
        let mut fetching =
            stream::iter(wanted.iter().map(|file| self.fetch_file(file, &shared, ui)))
                .buffer_unordered(MAX_PARALLEL);
        let mut missing = Vec::new();
        while let Some(outcome) = fetching.next().await {
            missing.extend(outcome?);
        }
        missing.sort_by(|one, other| one.name.cmp(&other.name));
        if missing.is_empty() {
            Ok(())
        } else {
            Err(FetchError::Missing { missing })
        }
    }

    /// Downloads a file. Returns it if no source has it.
    async fn fetch_file(
        &self,
        wanted: &FileRequest,
        shared: &Shared<'_>,
        ui: &Ui,
    ) -> Result<Option<MissingFile>, FetchError> {
        let name = format!("{} {}", wanted.name, wanted.digest);
        let Some((target, lock)) = self.claim(wanted.digest, &name, ui).await? else {
            shared.bar.advance(wanted.size);
            return Ok(None);
        };
        if let Some(store) = shared.places.store
            && self
                .copy_from_store(store(&wanted.digest), wanted.digest, &target)
                .await?
        {
            shared.bar.advance(wanted.size);
            lock.remove().map_err(failed(&target))?;
            return Ok(None);
        }
        let partial = self.partial(&target, lock).await?;
        let mut sources = sources(wanted, shared.places.mirrors);
        let (partial, is_complete) = self
            .try_sources(&mut sources, wanted.digest, partial, shared)
            .await?;
        if is_complete {
            return self.finish(partial, &target).await.map(|()| None);
        }
        if partial.size() == 0 {
            partial.discard().map_err(failed(&target))?;
        }
        let mut reasons: Vec<String> = sources
            .into_iter()
            .filter_map(|source| source.reason)
            .collect();
        if reasons.is_empty() {
            reasons.push(format!("{} is not a URL", wanted.url));
        }
        Ok(Some(MissingFile {
            name: wanted.name.clone(),
            digest: wanted.digest,
            reasons,
        }))
    }

    /// Tries all sources in several rounds. Returns whether the file is complete.
    async fn try_sources(
        &self,
        sources: &mut [Source],
        digest: Digest,
        mut partial: Partial,
        shared: &Shared<'_>,
    ) -> Result<(Partial, bool), FetchError> {
        let mut pauses = Backoff::new(self.pause, PAUSE_FACTOR, MAX_PAUSE);
        for round in 0..MAX_ROUNDS {
            if round > 0 && sources.iter().any(|source| !source.is_out) {
                tokio::time::sleep(pauses.next_delay()).await;
            }
            for source in sources.iter_mut().filter(|source| !source.is_out) {
                if shared.is_silent(&source.url) {
                    source
                        .reason
                        .get_or_insert_with(|| format!("{} does not answer", server(&source.url)));
                    source.is_out = true;
                    continue;
                }
                let is_complete;
                (partial, is_complete) = self.try_source(source, digest, partial, shared).await?;
                if is_complete {
                    return Ok((partial, true));
                }
            }
        }
        Ok((partial, false))
    }

    /// Tries a source once. Returns whether the file is complete.
    async fn try_source(
        &self,
        source: &mut Source,
        digest: Digest,
        partial: Partial,
        shared: &Shared<'_>,
    ) -> Result<(Partial, bool), FetchError> {
        let path = self.path(&digest);
        let (mut partial, attempt) =
            attempt::attempt(&shared.client, &source.url, partial, |_, _| &shared.bar)
                .await
                .map_err(failed(&path))?;
        shared.note(&source.url, &attempt.outcome);
        let actual = partial.digest();
        if actual == digest {
            return Ok((partial, true));
        }
        source.reason = Some(match &attempt.outcome {
            Err(error) => format!("{}: {error}", source.url),
            Ok(()) => format!("{} is {actual}", source.url),
        });
        match attempt.outcome {
            // Bytes of another source may be wrong, so this source is asked for the whole file before it is given up.
            Ok(()) => source.is_out = !attempt.resumed,
            Err(TransferError::PastEnd) => {}
            Err(error) => {
                source.is_out = !error.is_passing();
                return Ok((partial, false));
            }
        }
        partial.restart().map_err(failed(&path))?;
        Ok((partial, false))
    }

    /// Copies a blob of a store to `target` and verifies it. Returns whether the store has it.
    async fn copy_from_store(
        &self,
        blob: PathBuf,
        digest: Digest,
        target: &Path,
    ) -> Result<bool, FetchError> {
        let to = target.to_owned();
        let copied = hash_stream::blocking(move |stop| {
            let from = std::fs::File::open(blob)?;
            let mut unfinished = Unfinished::create(&to, 0o644)?;
            let (actual, _) = hash_stream::copy(from, unfinished.file(), stop, |_| {})?;
            if actual == digest {
                unfinished.finish().map(|()| true)
            } else {
                Ok(false)
            }
        });
        let copied = if_exists(copied.await).map_err(failed(target))?;
        Ok(copied.unwrap_or_default())
    }
}

fn sources(wanted: &FileRequest, mirrors: &[Mirror]) -> Vec<Source> {
    let source = |url| Source {
        url,
        reason: None,
        is_out: false,
    };
    let mut all: Vec<Source> = Vec::new();
    for mirror in mirrors {
        let candidates = mirror.candidates(wanted);
        if candidates.is_empty()
            && let Mirror::Directory(path) = mirror
            && let Ok(url) = Url::from_file_path(path)
        {
            let reason = Some(format!(
                "{} does not have the file under any of its names",
                path.display()
            ));
            all.push(Source {
                url,
                reason,
                is_out: true,
            });
        }
        all.extend(candidates.into_iter().map(source));
    }
    all.extend(Url::parse(&wanted.url).ok().map(source));
    all
}
