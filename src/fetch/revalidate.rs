//! Revalidation: the current file at a URL whose digest is not known. The request carries the validators of the last answer, so
//! an unchanged file costs one short answer.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::transfer::{self, Redirects, TransferError};
use super::validators::Validators;
use super::{Cache, FetchError, broken_off, failed, parse};
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::os::hash_stream;

/// Longer than a working archive takes for a short answer, and short enough for a user who waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Far above the size of any index of an archive: Debian's largest is a quarter of a megabyte.
const MAX_FILE_BYTES: usize = 32 << 20;

/// The last answer for a URL.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    url: String,
    digest: Digest,
    #[serde(flatten)]
    validators: Validators,
}

impl Cache {
    /// Returns path and digest of the current file at `url`. Asks once, for at most 10 s.
    pub(crate) async fn current(&self, url: &str) -> Result<(PathBuf, Digest), FetchError> {
        let url = parse(url)?;
        let known = self.recall(&url);
        let asked = ask(&url, known.as_ref().map(|note| &note.validators)).await;
        let response = asked.map_err(broken_off(&url))?;
        if response.status() == StatusCode::NOT_MODIFIED {
            // Without validators in the request this answer is an error.
            let digest = known.map(|note| note.digest);
            let digest = digest.ok_or(TransferError::Status(StatusCode::NOT_MODIFIED));
            return digest
                .map(|digest| (self.path(&digest), digest))
                .map_err(broken_off(&url));
        }
        if response.status() != StatusCode::OK {
            return Err(broken_off(&url)(TransferError::Status(response.status())));
        }
        let validators = Validators::of(&response);
        let bytes = read(response).await.map_err(broken_off(&url))?;
        let digest = Digest::of(&bytes);
        let path = self.path(&digest);
        let note = Note {
            url: url.to_string(),
            digest,
            validators,
        };
        let (note_path, target) = (self.note_of(&url), path.clone());
        let kept = hash_stream::blocking(move |_| {
            for path in [&target, &note_path] {
                std::fs::create_dir_all(atomic_file::directory_of(path))?;
            }
            atomic_file::write(&target, 0o644, &bytes)?;
            // The file comes first because the note refers to it.
            atomic_file::write(&note_path, 0o600, &serde_json::to_vec(&note)?)
        });
        kept.await.map_err(failed(&path))?;
        Ok((path, digest))
    }

    /// Returns the note of the last answer, if the cache still has its file.
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

/// Asks for a file that may be unchanged since an answer with the known validators.
pub(super) async fn ask(url: &Url, known: Option<&Validators>) -> Result<Response, TransferError> {
    let client = transfer::client(Redirects::Secure)?;
    let mut request = client.get(url.clone()).timeout(REQUEST_TIMEOUT);
    if let Some(known) = known {
        request = known.add_to(request);
    }
    request.send().await.map_err(TransferError::Line)
}

async fn read(response: Response) -> Result<Vec<u8>, TransferError> {
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(block) = body.try_next().await.map_err(TransferError::Line)? {
        bytes.extend_from_slice(&block);
        if bytes.len() > MAX_FILE_BYTES {
            return Err(TransferError::TooLong(MAX_FILE_BYTES));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request with the same head and body. Returns its URL and the requests.
    async fn serve(head: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/InRelease", listener.local_addr().unwrap());
        let (sender, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut line, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(line.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
                let answer = format!("HTTP/1.1 {head}Connection: close\r\n\r\nabc");
                line.write_all(answer.as_bytes()).await.unwrap();
                sender.send(request).unwrap();
            }
        });
        (url, asked)
    }

    #[tokio::test]
    async fn only_strong_validators_are_sent() {
        for (head, expected) in [
            ("200 OK\r\nETag: \"x\"\r\n", Some("if-none-match: \"x\"")),
            (
                "200 OK\r\nDate: Sat, 11 Jul 2026 10:16:37 GMT\r\nLast-Modified: Sat, 11 Jul 2026 10:16:36 GMT\r\n",
                Some("if-modified-since: sat, 11 jul 2026 10:16:36 gmt"),
            ),
            // The file may change again within that second.
            (
                "200 OK\r\nDate: Sat, 11 Jul 2026 10:16:37 GMT\r\nLast-Modified: Sat, 11 Jul 2026 10:16:37 GMT\r\n",
                None,
            ),
            ("200 OK\r\n", None),
        ] {
            let scratch = tempfile::tempdir().unwrap();
            let cache = Cache::new(scratch.path());
            let (url, mut asked) = serve(head).await;
            for turn in 0..2 {
                let (path, digest) = cache.current(&url).await.unwrap();
                assert_eq!(digest, Digest::of(b"abc"));
                assert_eq!(std::fs::read(path).unwrap(), b"abc");
                let request = asked.recv().await.unwrap();
                let line = request.lines().find(|line| line.starts_with("if-"));
                assert_eq!(line, expected.filter(|_| turn == 1), "{head}");
            }
            // Without the file the note is not used.
            std::fs::remove_file(cache.path(&Digest::of(b"abc"))).unwrap();
            cache.current(&url).await.unwrap();
            assert!(!asked.recv().await.unwrap().contains("\nif-"), "{head}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_file_is_an_error() {
        for (head, said) in [
            ("404 Not Found\r\n", "the server answered 404 Not Found"),
            (
                "304 Not Modified\r\n",
                "the server answered 304 Not Modified",
            ),
        ] {
            let scratch = tempfile::tempdir().unwrap();
            let (url, _asked) = serve(head).await;
            let error = Cache::new(scratch.path()).current(&url).await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(cause, said);
            assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }
}
