//! Many files at once, each by its digest, from whatever has it: the cache, a store, mirrors, its archive.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use futures_util::{StreamExt, stream};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::{Client, Url};

use super::partial::Partial;
use super::transfer::{self, Redirects, TransferError};
use super::{Cache, FetchError, failed, receive};
use crate::digest::Digest;
use crate::os::atomic_file::Unfinished;
use crate::os::hash_stream;
use crate::ui::{Bar, Ui};

/// Downloads at once. More do not fill a line better, and some archives refuse more from one address.
const AT_ONCE: usize = 8;

/// How often each source of a file is asked; between the rounds there is a pause.
const ROUNDS: u32 = 3;

/// A file to fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What it is, for messages.
    pub name: String,
    /// What it must hash to.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where its archive has it.
    pub url: String,
    /// Its path in the archive.
    pub path: String,
}

/// Where files are looked for besides the cache and their archives.
#[derive(Clone, Copy, Default)]
pub struct Places<'a> {
    /// Where a store would have the file.
    pub store: Option<&'a dyn Fn(&Digest) -> PathBuf>,
    /// Mirrors, the first to be asked first.
    pub mirrors: &'a [Mirror],
}

/// A copy of an archive, or a heap of files of it: `--mirror`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mirror {
    /// A directory on this host.
    Directory(PathBuf),
    /// A server.
    Url(Url),
}

/// A file that nothing has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// What it is.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Who was asked and what came of it.
    pub reasons: Vec<String>,
}

impl fmt::Display for Missing {
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
                .map_err(|()| "this names no directory of this host".to_owned()),
            _ => Err("give a directory, or an `http` or `https` URL".to_owned()),
        }
    }
}

impl Mirror {
    /// Where it may have a file: by its path in the archive, by its name, or by its digest.
    fn candidates(&self, wanted: &Wanted) -> Vec<Url> {
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
                    let text = format!("{}/{}", url.as_str().trim_end_matches('/'), encode(path));
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

/// One place that may have a file, and why it did not.
struct Source {
    url: Url,
    reason: Option<String>,
    /// It is not worth another try.
    is_out: bool,
}

/// What all downloads of one call share.
struct Shared<'a> {
    client: Client,
    bar: Bar,
    places: Places<'a>,
    /// How often in a row each server did not answer at all.
    silent: RefCell<HashMap<String, u32>>,
}

impl Shared<'_> {
    fn is_silent(&self, url: &Url) -> bool {
        self.silent
            .borrow()
            .get(&server(url))
            .is_some_and(|times| *times >= ROUNDS)
    }

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

/// A path as a part of a URL. `+` too, which some servers take for a space.
pub(crate) fn encode(path: &str) -> String {
    const ODD: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'+')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'`')
        .add(b'{')
        .add(b'}');
    utf8_percent_encode(path, ODD).to_string()
}

fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

impl Cache {
    /// Fetches all files, several at once, with one bar. A source that lies, stalls or is gone does not matter while
    /// another has the file.
    ///
    /// # Errors
    /// Names every file that nothing has, with its digest; or the cache cannot be used.
    pub async fn fetch_all(
        &self,
        wanted: &[Wanted],
        places: Places<'_>,
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
        let mut fetching = stream::iter(wanted.iter().map(|file| self.one_of(file, &shared, ui)))
            .buffer_unordered(AT_ONCE);
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

    async fn one_of(
        &self,
        wanted: &Wanted,
        shared: &Shared<'_>,
        ui: &Ui,
    ) -> Result<Option<Missing>, FetchError> {
        let name = format!("{} {}", wanted.name, wanted.digest);
        let Some((target, lock)) = self.claim(wanted.digest, &name, ui).await? else {
            shared.bar.advance(wanted.size);
            return Ok(None);
        };
        if let Some(store) = shared.places.store
            && self
                .take_from(store(&wanted.digest), wanted.digest, &target)
                .await?
        {
            shared.bar.advance(wanted.size);
            lock.remove().map_err(failed(&target))?;
            return Ok(None);
        }
        let mut partial = self.partial(&target, lock).await?;
        let mut sources = sources(wanted, shared.places.mirrors);
        for round in 0..ROUNDS {
            if round > 0 && sources.iter().any(|source| !source.is_out) {
                tokio::time::sleep(self.pause * 2_u32.pow(round - 1)).await;
            }
            for source in sources.iter_mut().filter(|source| !source.is_out) {
                if shared.is_silent(&source.url) {
                    source
                        .reason
                        .get_or_insert_with(|| format!("{} does not answer", server(&source.url)));
                    source.is_out = true;
                    continue;
                }
                let outcome;
                (partial, outcome) = self.attempt(source, wanted.digest, partial, shared).await?;
                if outcome {
                    return self.finish(partial, &target).await.map(|()| None);
                }
            }
        }
        if partial.size() == 0 {
            partial.discard().map_err(failed(&target))?;
        }
        let mut reasons: Vec<String> = sources
            .into_iter()
            .filter_map(|source| source.reason)
            .collect();
        if reasons.is_empty() {
            reasons.push(format!("{} cannot be a URL", wanted.url));
        }
        Ok(Some(Missing {
            name: wanted.name.clone(),
            digest: wanted.digest,
            reasons,
        }))
    }

    /// One try with one source; whether the file is complete now.
    async fn attempt(
        &self,
        source: &mut Source,
        digest: Digest,
        mut partial: Partial,
        shared: &Shared<'_>,
    ) -> Result<(Partial, bool), FetchError> {
        let path = self.path(&digest);
        let answer = transfer::request(&shared.client, &source.url, partial.size()).await;
        let mut resumed = partial.size() > 0;
        let outcome = match answer {
            Ok(answer) => {
                if answer.offset != partial.size() {
                    partial.restart().map_err(failed(&path))?;
                    resumed = false;
                }
                let outcome;
                (partial, outcome) = receive(answer.body, partial, &shared.bar)
                    .await
                    .map_err(failed(&path))?;
                outcome
            }
            Err(error) => Err(error),
        };
        shared.note(&source.url, &outcome);
        let actual = partial.digest();
        if actual == digest {
            return Ok((partial, true));
        }
        source.reason = Some(match &outcome {
            Err(error) => format!("{}: {error}", source.url),
            Ok(()) => format!("{} is {actual}", source.url),
        });
        match outcome {
            // What another source began may be at fault: this one is asked for the whole before it is called a liar.
            Ok(()) => source.is_out = !resumed,
            Err(TransferError::PastEnd) => {}
            Err(error) => {
                source.is_out = !error.is_passing();
                return Ok((partial, false));
            }
        }
        partial.restart().map_err(failed(&path))?;
        Ok((partial, false))
    }

    /// Whether a store has the file, unharmed; then it is in the cache too.
    async fn take_from(
        &self,
        blob: PathBuf,
        digest: Digest,
        target: &Path,
    ) -> Result<bool, FetchError> {
        let to = target.to_owned();
        let taken = hash_stream::blocking(move |stop| {
            let from = std::fs::File::open(blob)?;
            let mut unfinished = Unfinished::create(&to, 0o644)?;
            let (actual, _) = hash_stream::copy(from, unfinished.file(), stop, |_| {})?;
            if actual == digest {
                unfinished.finish().map(|()| true)
            } else {
                Ok(false)
            }
        });
        match taken.await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            taken => taken.map_err(failed(target)),
        }
    }
}

fn sources(wanted: &Wanted, mirrors: &[Mirror]) -> Vec<Source> {
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
            let reason = Some(format!("{} has it under none of its names", path.display()));
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
