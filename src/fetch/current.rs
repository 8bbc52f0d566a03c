//! What is at a URL now, when its digest is not known: asked for with the validators of the last answer, so that an
//! unchanged file costs one short answer.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use reqwest::header::{DATE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::transfer::{self, Redirects, TransferError};
use super::{Cache, FetchError, parse};
use crate::atomic;
use crate::digest::Digest;
use crate::hashing;

/// Longer than a live archive takes for a short answer, short enough that somebody who waits stays.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than any file has that tells whether something changed: Debian's largest is a quarter of a megabyte.
const LIMIT: usize = 32 << 20;

/// What the last answer for a URL was.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    url: String,
    digest: Digest,
    etag: Option<String>,
    modified: Option<String>,
}

impl Cache {
    /// Asks once for what is at `url`; returns where the cache has it now, and its digest.
    ///
    /// # Errors
    /// No answer within 10 s, one that is no file, or the cache cannot be written.
    pub async fn current(&self, url: &str) -> Result<(PathBuf, Digest), FetchError> {
        let url = parse(url)?;
        let failed = |source| FetchError::Transfer {
            url: url.to_string(),
            tries: 1,
            source,
        };
        let known = self.recall(&url);
        let response = ask(&url, known.as_ref()).await.map_err(failed)?;
        if response.status() == StatusCode::NOT_MODIFIED {
            // An answer that was not asked for is none.
            let digest = known.map(|note| note.digest);
            let digest = digest.ok_or(TransferError::Status(StatusCode::NOT_MODIFIED));
            return digest
                .map(|digest| (self.path(&digest), digest))
                .map_err(failed);
        }
        if response.status() != StatusCode::OK {
            return Err(failed(TransferError::Status(response.status())));
        }
        let (etag, modified) = validators(&response);
        let bytes = read(response).await.map_err(failed)?;
        let digest = Digest::of(&bytes);
        let path = self.path(&digest);
        let note = Note {
            url: url.to_string(),
            digest,
            etag,
            modified,
        };
        let (note_path, target) = (self.note_of(&url), path.clone());
        let kept = hashing::blocking(move |_| {
            for path in [&target, &note_path] {
                std::fs::create_dir_all(atomic::directory_of(path))?;
            }
            atomic::write(&target, 0o644, &bytes)?;
            // The file first: a note promises that it is there.
            atomic::write(&note_path, 0o600, &serde_json::to_vec(&note)?)
        });
        kept.await.map_err(|source| FetchError::Cache {
            path: path.clone(),
            source,
        })?;
        Ok((path, digest))
    }

    /// The note of the last answer, if the file that came with it is still what it was.
    fn recall(&self, url: &Url) -> Option<Note> {
        let note: Note = serde_json::from_slice(&std::fs::read(self.note_of(url)).ok()?).ok()?;
        let bytes = std::fs::read(self.path(&note.digest)).ok()?;
        (note.url == url.as_str() && Digest::of(&bytes) == note.digest).then_some(note)
    }

    fn note_of(&self, url: &Url) -> PathBuf {
        let name = Digest::of(url.as_str().as_bytes()).hex();
        self.root().join("validators").join(name)
    }
}

async fn ask(url: &Url, known: Option<&Note>) -> Result<Response, TransferError> {
    let client = transfer::client(Redirects::Secure)?;
    let mut request = client.get(url.clone()).timeout(PATIENCE);
    if let Some(note) = known {
        for (name, value) in [
            (IF_NONE_MATCH, &note.etag),
            (IF_MODIFIED_SINCE, &note.modified),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
    }
    request.send().await.map_err(TransferError::Line)
}

fn validators(response: &Response) -> (Option<String>, Option<String>) {
    let header = |name: HeaderName| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    // A file that was changed in the second of the answer may change once more in it, and then have the same date.
    let modified = header(LAST_MODIFIED).filter(|modified| header(DATE).as_ref() != Some(modified));
    (header(ETAG), modified)
}

async fn read(response: Response) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(block) = body.try_next().await.map_err(TransferError::Line)? {
        bytes.extend_from_slice(&block);
        if bytes.len() > LIMIT {
            return Err(TransferError::TooLong(LIMIT));
        }
    }
    Ok(bytes)
}
