//! Content-addressed cache of downloads, with verification, resume, retry and progress.
//!
//! `<cache>/sha256/<hex>` is only created by renaming a file whose digest was verified. Several processes may share a cache: each
//! entry has a lock, so the second process waits for the download of the first.

mod attempt;
mod batch;
mod checksums;
pub(crate) mod digest_cache;
mod error;
mod partial;
mod probe;
mod revalidate;
pub(crate) mod transfer;
mod unverified;
mod validators;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Url};

use crate::backoff::Backoff;
use crate::digest::Digest;
use crate::os::environment;
use crate::os::file_lock::FileLock;
use crate::os::hash_stream;
use crate::plan::Checksum;
use crate::ui::Ui;
pub(crate) use batch::{FileRequest, FileSources, Mirror};
pub(crate) use error::FetchError;
use partial::Partial;
pub(crate) use probe::{Probe, probe};
use transfer::{Redirects, TransferError};
pub use validators::Validators;

/// Maximum number of tries for a download. A restarting server or a dropped connection is back within the 15 s that the pauses
/// add up to.
const MAX_TRIES: u32 = 5;

/// Pause after the first failed try. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: f64 = 2.0;
/// The last pause of [`MAX_TRIES`].
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// Far above the size of any checksum file.
const MAX_CHECKSUM_FILE_BYTES: usize = 4 << 20;

/// A directory of downloads.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    /// Pause after the first failed try.
    pause: Duration,
    /// Time without a byte after which a connection is given up.
    stalled: Duration,
}

impl Cache {
    /// Returns the cache in directory `root`, which the first download creates.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            pause: FIRST_PAUSE,
            stalled: transfer::STALL_TIMEOUT,
        }
    }

    /// Returns the user's cache: `KARAT_CACHE`, else `karat` in the XDG cache directory.
    ///
    /// # Errors
    /// The environment names neither.
    pub fn of_user() -> Result<Self, FetchError> {
        // KARAT_CACHE may be relative. The XDG specification ignores relative directories.
        std::env::var_os(environment::CACHE.name)
            .and_then(|path| std::path::absolute(path).ok())
            .or_else(|| Some(crate::os::xdg::directory("XDG_CACHE_HOME", ".cache")?.join("karat")))
            .map(Self::new)
            .ok_or(FetchError::NoPlace)
    }

    /// Returns the directory of the cache.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the parent of [run directories](crate::os::run_dir::RunDir).
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Returns the directory of the logs of builds.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Returns the directory of remembered digests of local files (see [`digest_cache`]).
    pub(crate) fn known(&self) -> PathBuf {
        self.root.join("known")
    }

    /// Returns the directory of what packages contain, by digest of their files.
    pub(crate) fn package_contents(&self) -> PathBuf {
        self.root.join("package-contents")
    }

    /// Returns the path of the download with this digest, which may not exist.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.hex())
    }

    /// Downloads `url` unless the cache has it. Returns its path and its digest, which `checksum` gives.
    ///
    /// # Errors
    /// The download fails after its retries, or has another digest; nothing is kept then.
    pub async fn fetch(
        &self,
        url: &str,
        checksum: &Checksum,
        ui: &Ui,
    ) -> Result<(PathBuf, Digest), FetchError> {
        let digest = self.expected(url, checksum).await?;
        Ok((self.fetch_known(&parse(url)?, digest, ui).await?, digest))
    }

    /// Returns the digest that `checksum` gives for `url`. Downloads the checksum file if there is one.
    pub(crate) async fn expected(
        &self,
        url: &str,
        checksum: &Checksum,
    ) -> Result<Digest, FetchError> {
        let url = parse(url)?;
        match checksum {
            Checksum::Sha256(digest) => Ok(*digest),
            Checksum::Sha256Url(sums) => self.look_up(&parse(sums)?, &url).await,
        }
    }

    /// Looks up the file name of `url` in the checksum file at `sums`.
    async fn look_up(&self, sums: &Url, url: &Url) -> Result<Digest, FetchError> {
        let client = transfer::client(Redirects::Secure).map_err(broken_off(sums))?;
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

    /// Locks the entry of a digest in order to fill it. Returns its path and lock, or `None` if the cache has the file.
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

    /// Opens the partial download of an entry, or starts one.
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

    /// Returns whether the cache has the file with its digest. Removes a damaged file.
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
        let client = transfer::client(Redirects::Any).map_err(broken_off(url))?;
        let mut tries = Tries::new(self.pause);
        let path = self.path(&digest).with_extension("partial");
        let bar = |total, size| {
            let bar = ui.bar(&format!("fetching {}", file_name(url)), total);
            bar.advance(size);
            bar
        };
        loop {
            let attempt;
            (partial, attempt) = attempt::attempt(&client, url, partial, bar)
                .await
                .map_err(failed(&path))?;
            let actual = partial.digest();
            // The digest decides whether the file is complete, whatever length the server announced.
            if actual == digest {
                return Ok(partial);
            }
            let error = match attempt.outcome {
                // The bytes of an earlier run may be of another file, so a whole download decides.
                Ok(()) if attempt.resumed => {
                    partial.restart().map_err(failed(&path))?;
                    continue;
                }
                Ok(()) => {
                    partial.discard().map_err(failed(&path))?;
                    return Err(FetchError::Mismatch {
                        url: url.to_string(),
                        expected: digest,
                        actual,
                    });
                }
                Err(error) => error,
            };
            if matches!(error, TransferError::PastEnd) {
                partial.restart().map_err(failed(&path))?;
            }
            if let Err(error) = tries.pause_after(url, error).await {
                if partial.size() == 0 {
                    partial.discard().map_err(failed(&path))?;
                }
                return Err(error);
            }
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source| FetchError::Cache { path, source }
}

/// Counts failed tries and pauses between them.
struct Tries {
    failed: u32,
    pauses: Backoff,
}

impl Tries {
    fn new(pause: Duration) -> Self {
        Self {
            failed: 0,
            pauses: Backoff::new(pause, PAUSE_FACTOR, MAX_PAUSE),
        }
    }

    async fn pause_after(&mut self, url: &Url, source: TransferError) -> Result<(), FetchError> {
        self.failed += 1;
        if self.failed == MAX_TRIES || !source.is_passing() {
            return Err(FetchError::Transfer {
                url: url.to_string(),
                tries: self.failed,
                source,
            });
        }
        tokio::time::sleep(self.pauses.next_delay()).await;
        Ok(())
    }
}

/// Downloads a small text file; `None` if it is too large or not text.
async fn read_text(client: &Client, url: &Url) -> Result<Option<String>, TransferError> {
    let mut body = transfer::request(client, url, 0).await?.body;
    let mut bytes = Vec::new();
    while let Some(next) = body.next().await {
        bytes.extend_from_slice(&next?);
        if bytes.len() > MAX_CHECKSUM_FILE_BYTES {
            return Ok(None);
        }
    }
    Ok(String::from_utf8(bytes).ok())
}

/// Returns the error of the only try to transfer `url`.
fn broken_off(url: &Url) -> impl Fn(TransferError) -> FetchError {
    move |source| FetchError::Transfer {
        url: url.to_string(),
        tries: 1,
        source,
    }
}

fn parse(text: &str) -> Result<Url, FetchError> {
    let invalid = |reason: String| FetchError::Url {
        url: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    match url.scheme() {
        "http" | "https" | "file" => Ok(url),
        other => Err(invalid(format!("the scheme `{other}` is not supported"))),
    }
}

/// Returns the last component of a URL's path, decoded.
fn file_name(url: &Url) -> String {
    let name = url.path().rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(name)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests;
