//! URL → content-addressed cache, with digest, resume, retry and progress.
//!
//! `<cache>/sha256/<hex>` is only ever made by renaming a file whose digest was compared, so a file of that name has
//! that digest. Several processes may share a cache: a lock per entry lets the second find what the first fetched.

mod batch;
mod checksums;
pub(crate) mod digest_cache;
mod partial;
mod revalidate;
pub(crate) mod transfer;
mod unverified;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use miette::Diagnostic;
use reqwest::{Client, Url};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::digest::Digest;
use crate::os::file_lock::FileLock;
use crate::os::hash_stream;
use crate::plan::Checksum;
use crate::ui::{Bar, Ui};
pub(crate) use batch::encode;
pub use batch::{Mirror, Missing, Places, Wanted};
use checksums::NotListed;
use partial::Partial;
use transfer::{Redirects, TransferError};
pub use unverified::plainly;

/// Tries for one download. A restarting server or a dropped line is back within the 15 s that the pauses add up to.
const TRIES: u32 = 5;

/// Pause after the first failed try; doubled after each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// More than any checksum file has.
const CHECKSUM_FILE_LIMIT: usize = 4 << 20;

/// The directory of downloads.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    pause: Duration,
    stalled: Duration,
}

/// Why something could not be fetched.
#[derive(Debug, Error, Diagnostic)]
pub enum FetchError {
    /// The text is no URL, or of a kind that cannot be fetched.
    #[error("cannot fetch {url:?}: {reason}")]
    #[diagnostic(help("give an `http`, `https` or `file` URL"))]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// All tries failed, or one failed in a way that no retry mends.
    #[error("cannot download {url}{}", after(*tries))]
    #[diagnostic(help(
        "check the URL and the network; what has arrived is kept, and the next try goes on from there. \
         An `https` URL needs the certificates of the system (package ca-certificates)"
    ))]
    Transfer {
        /// What was asked for.
        url: String,
        /// How often.
        tries: u32,
        /// The last failure.
        source: TransferError,
    },
    /// The download is not what was expected.
    #[error("the download of {url} is {actual}, not {expected}")]
    #[diagnostic(help(
        "nothing was kept; either the file at the URL has changed, or the expected digest is wrong"
    ))]
    Mismatch {
        /// What was asked for.
        url: String,
        /// What it should hash to.
        expected: Digest,
        /// What it hashes to.
        actual: Digest,
    },
    /// The checksum file is of no use for this download.
    #[error("{url} has {} for {name:?}", problem(*why))]
    #[diagnostic(help(
        "it must hold SHA-256 digests, one `<hex>  <name>` a line; or give the digest itself as `sha256`"
    ))]
    Checksums {
        /// URL of the checksum file.
        url: String,
        /// File name that was looked up.
        name: String,
        /// What is wrong.
        why: NotListed,
    },
    /// The checksum file is no text, or far too long.
    #[error("{url} is not a checksum file")]
    #[diagnostic(help("`sha256_url` must point at a text file like SHA256SUMS"))]
    NotChecksums {
        /// URL of the checksum file.
        url: String,
    },
    /// The cache cannot be used.
    #[error("cannot write to the cache at {}", path.display())]
    #[diagnostic(help("free some space there, or choose another place with KARAT_CACHE"))]
    Cache {
        /// File or directory of the cache.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files that were looked for everywhere.
    #[error("{} nowhere to be had:\n  {}", several(missing.len()), lines(missing))]
    #[diagnostic(help(
        "the digests are those of the lock: give a place that still has the files with `--mirror`, or resolve anew with `karat lock --update`"
    ))]
    Missing {
        /// Each with the reasons.
        missing: Vec<Missing>,
    },
    /// No HTTP at all.
    #[error("cannot fetch anything over HTTP")]
    NoClient(#[source] TransferError),
    /// There is no place for a cache.
    #[error("no place for the cache: neither XDG_CACHE_HOME nor HOME is set")]
    #[diagnostic(help("set KARAT_CACHE to a directory"))]
    NoPlace,
}

fn several(count: usize) -> String {
    if count == 1 {
        return "a file is".to_owned();
    }
    format!("{count} files are")
}

fn lines(missing: &[Missing]) -> String {
    let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}

fn after(tries: u32) -> String {
    if tries > 1 {
        return format!(" after {tries} tries");
    }
    String::new()
}

fn problem(why: NotListed) -> &'static str {
    match why {
        NotListed::Missing => "no SHA-256 digest",
        NotListed::Contradictory => "several SHA-256 digests",
    }
}

impl FetchError {
    /// The exit code when it is not 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Url { .. } => 2,
            Self::Mismatch { .. } => 4,
            _ => 1,
        }
    }
}

impl Cache {
    /// A cache in this directory, which is made when something is put into it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            pause: PAUSE,
            stalled: transfer::STALLED,
        }
    }

    /// The cache of this user: `KARAT_CACHE`, else `karat` in the XDG cache directory.
    ///
    /// # Errors
    /// The environment names no place.
    pub fn of_user() -> Result<Self, FetchError> {
        // A relative directory of XDG's is ignored; ours is what the user wrote.
        std::env::var_os("KARAT_CACHE")
            .and_then(|path| std::path::absolute(path).ok())
            .or_else(|| Some(crate::os::xdg::directory("XDG_CACHE_HOME", ".cache")?.join("karat")))
            .map(Self::new)
            .ok_or(FetchError::NoPlace)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where run directories are made (see [`crate::os::run_dir::RunDir`]).
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Where digests of local files are remembered (see [`known`]).
    #[must_use]
    pub fn known(&self) -> PathBuf {
        self.root.join("known")
    }

    /// Where a download with this digest is, once it is there.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.hex())
    }

    /// Fetches what `checksum` tells the digest of; returns where it is and that digest.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(
        &self,
        url: &str,
        checksum: &Checksum,
        ui: &Ui,
    ) -> Result<(PathBuf, Digest), FetchError> {
        let digest = self.expected(url, checksum).await?;
        Ok((self.fetch_known(&parse(url)?, digest, ui).await?, digest))
    }

    /// What a download of `url` must hash to.
    ///
    /// # Errors
    /// The checksum file cannot be had, or does not tell.
    pub async fn expected(&self, url: &str, checksum: &Checksum) -> Result<Digest, FetchError> {
        let url = parse(url)?;
        match checksum {
            Checksum::Sha256(digest) => Ok(*digest),
            Checksum::Sha256Url(sums) => self.look_up(&parse(sums)?, &url).await,
        }
    }

    /// Gets the digest of the file that `url` names out of a checksum file.
    async fn look_up(&self, sums: &Url, url: &Url) -> Result<Digest, FetchError> {
        let client = client(sums, Redirects::Secure)?;
        let mut tries = Tries::new(self.pause);
        let text = loop {
            match read_text(&client, sums).await {
                Ok(text) => break text,
                Err(source) => tries.pause_after(sums, source).await?,
            }
        };
        let text = text.ok_or_else(|| FetchError::NotChecksums {
            url: sums.to_string(),
        })?;
        let name = file_name(url);
        checksums::find(&text, &name).map_err(|why| FetchError::Checksums {
            url: sums.to_string(),
            name,
            why,
        })
    }

    async fn fetch_known(&self, url: &Url, digest: Digest, ui: &Ui) -> Result<PathBuf, FetchError> {
        let Some((target, lock)) = self.claim(digest, url.as_str(), ui).await? else {
            return Ok(self.path(&digest));
        };
        let partial = self.partial(&target, lock).await?;
        let partial = self.download(url, digest, partial, ui).await?;
        self.finish(partial, &target).await?;
        Ok(target)
    }

    /// The entry of a digest, locked, for who is going to fill it; `None` when the cache has the file.
    async fn claim(
        &self,
        digest: Digest,
        name: &str,
        ui: &Ui,
    ) -> Result<Option<(PathBuf, FileLock)>, FetchError> {
        let target = self.path(&digest);
        let directory = self.root.join("sha256");
        std::fs::create_dir_all(&directory).map_err(failed(&directory))?;
        let lock_path = target.with_extension("lock");
        let waiting = || ui.detail(&format!("another process is fetching {name}"));
        let lock = FileLock::exclusive(&lock_path, waiting)
            .await
            .map_err(failed(&lock_path))?;
        if self.holds(&target, digest).await.map_err(failed(&target))? {
            lock.remove().map_err(failed(&lock_path))?;
            return Ok(None);
        }
        Ok(Some((target, lock)))
    }

    /// What an earlier try left of an entry, or a new beginning.
    async fn partial(&self, target: &Path, lock: FileLock) -> Result<Partial, FetchError> {
        let path = target.with_extension("partial");
        let open = {
            let path = path.clone();
            move |stop: &hash_stream::Stop| Partial::open(&path, lock, stop)
        };
        hash_stream::blocking(open).await.map_err(failed(&path))
    }

    async fn finish(&self, partial: Partial, target: &Path) -> Result<(), FetchError> {
        let finished = target.to_owned();
        hash_stream::blocking(move |_| partial.finish(&finished))
            .await
            .map_err(failed(target))
    }

    /// Whether the cache has the file, unharmed. One that rotted on disk is removed.
    async fn holds(&self, target: &Path, digest: Digest) -> io::Result<bool> {
        let (known, path) = (self.known(), target.to_owned());
        let actual =
            hash_stream::blocking(move |stop| digest_cache::digest(&known, &path, stop, |_| {}))
                .await;
        match actual {
            Ok((actual, _)) if actual == digest => Ok(true),
            Ok(_) => std::fs::remove_file(target).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn download(
        &self,
        url: &Url,
        digest: Digest,
        mut partial: Partial,
        ui: &Ui,
    ) -> Result<Partial, FetchError> {
        let client = client(url, Redirects::Any)?;
        let mut tries = Tries::new(self.pause);
        let cannot_write = |source| FetchError::Cache {
            path: self.path(&digest).with_extension("partial"),
            source,
        };
        loop {
            // What an earlier run left may be of another file that was at the URL; then one whole download decides.
            let mut resumed = partial.size() > 0;
            let outcome = match transfer::request(&client, url, partial.size()).await {
                Ok(answer) => {
                    if answer.offset != partial.size() {
                        partial.restart().map_err(cannot_write)?;
                        resumed = false;
                    }
                    let bar = ui.bar(&format!("fetching {}", file_name(url)), answer.total);
                    bar.advance(partial.size());
                    let outcome;
                    (partial, outcome) = receive(answer.body, partial, &bar)
                        .await
                        .map_err(cannot_write)?;
                    outcome
                }
                Err(error) => Err(error),
            };
            let actual = partial.digest();
            match outcome {
                // Complete, whatever the server said about its length.
                _ if actual == digest => return Ok(partial),
                Ok(()) if resumed => partial.restart().map_err(cannot_write)?,
                Ok(()) => {
                    partial.discard().map_err(cannot_write)?;
                    return Err(FetchError::Mismatch {
                        url: url.to_string(),
                        expected: digest,
                        actual,
                    });
                }
                Err(error) => {
                    if matches!(error, TransferError::PastEnd) {
                        partial.restart().map_err(cannot_write)?;
                    }
                    if let Err(error) = tries.pause_after(url, error).await {
                        if partial.size() == 0 {
                            partial.discard().map_err(cannot_write)?;
                        }
                        return Err(error);
                    }
                }
            }
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source| FetchError::Cache { path, source }
}

/// Counts failed tries and waits between them.
struct Tries {
    failed: u32,
    pause: Duration,
}

impl Tries {
    fn new(pause: Duration) -> Self {
        Self { failed: 0, pause }
    }

    async fn pause_after(&mut self, url: &Url, source: TransferError) -> Result<(), FetchError> {
        self.failed += 1;
        if self.failed == TRIES || !source.is_passing() {
            return Err(FetchError::Transfer {
                url: url.to_string(),
                tries: self.failed,
                source,
            });
        }
        tokio::time::sleep(self.pause * 2_u32.pow(self.failed - 1)).await;
        Ok(())
    }
}

/// Writes the body to the partial file on another thread, so that hashing and the network overlap.
async fn receive(
    mut body: transfer::Body,
    mut partial: Partial,
    bar: &Bar,
) -> io::Result<(Partial, Result<(), TransferError>)> {
    let (sender, mut receiver) = mpsc::channel::<tokio_util::bytes::Bytes>(64);
    let writing = hash_stream::blocking(move |stop| {
        while let Some(bytes) = receiver.blocking_recv() {
            stop.check()?;
            partial.append(&bytes)?;
        }
        Ok(partial)
    });
    let reading = async move {
        while let Some(next) = body.next().await {
            let bytes = next?;
            bar.advance(bytes.len() as u64);
            // The writer is gone only when it failed, and then its own error is the one to report.
            if sender.send(bytes).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let (partial, outcome) = tokio::join!(writing, reading);
    partial.map(|partial| (partial, outcome))
}

/// The text of a small file; `None` when it is not text or not small.
async fn read_text(client: &Client, url: &Url) -> Result<Option<String>, TransferError> {
    let mut body = transfer::request(client, url, 0).await?.body;
    let mut bytes = Vec::new();
    while let Some(next) = body.next().await {
        bytes.extend_from_slice(&next?);
        if bytes.len() > CHECKSUM_FILE_LIMIT {
            return Ok(None);
        }
    }
    Ok(String::from_utf8(bytes).ok())
}

fn client(url: &Url, redirects: Redirects) -> Result<Client, FetchError> {
    transfer::client(redirects).map_err(|source| FetchError::Transfer {
        url: url.to_string(),
        tries: 1,
        source,
    })
}

fn parse(text: &str) -> Result<Url, FetchError> {
    let invalid = |reason: String| FetchError::Url {
        url: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    match url.scheme() {
        "http" | "https" | "file" => Ok(url),
        other => Err(invalid(format!("`{other}` is not known"))),
    }
}

/// The last name of a URL's path, as it is on disk.
fn file_name(url: &Url) -> String {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
