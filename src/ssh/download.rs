//! Downloads. Paths in the server's answer are never trusted.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use tar::EntryType;
use tokio::sync::mpsc::{self, Receiver};

use super::exec::{Input, OutputStream, joined};
use super::{Exit, Session, SshError, quote};
use crate::os::tail::Tail;
use crate::ui::Bar;

/// Messages queued between the network and the disk.
const QUEUE_LENGTH: usize = 64;
const BUFFER_BYTES: usize = 64 << 10;

/// Remote command. It follows links, so that only files and directories arrive.
const SEND: &str = r#"
if ! [ -e "$1" ]; then
    if [ -h "$1" ]; then echo 'it is a broken link'; else echo 'no such file or directory'; fi >&2
    exit 1
fi
path=${1%"${1##*[!/]}"}
dir=${path%/*} base=${path##*/}
exec tar -c -h --hard-dereference -f - -C "${dir:-/}" -- "./$base"
"#;

impl Session {
    /// Copies a remote file or directory to `destination`, or into it if that is a directory or ends with `/`. Follows links.
    ///
    /// # Errors
    /// Fails on a missing remote path, a path outside it in the server's answer, or a full disk. No partial files remain.
    pub async fn download(
        &self,
        source: &str,
        destination: &Path,
        bar: &Bar,
    ) -> Result<(), SshError> {
        let base = base_name(source)?.to_owned();
        let into = destination.as_os_str().as_bytes().ends_with(b"/") || destination.is_dir();
        let target = if into {
            destination.join(&base)
        } else {
            destination.components().collect()
        };
        let (chunks, receiver) = mpsc::channel(QUEUE_LENGTH);
        let unpacking =
            tokio::task::spawn_blocking(move || unpack(receiver, OsStr::new(&base), &target));
        let mut stderr = Tail::default();
        let command = format!("set -- {}{SEND}", quote(source));
        let ended = self
            .converse(
                &command,
                Input::end,
                async |kind, bytes: &[u8]| match kind {
                    OutputStream::Stderr => {
                        stderr.push(bytes);
                        Ok(())
                    }
                    OutputStream::Stdout => {
                        bar.advance(bytes.len() as u64);
                        // If the unpacker has stopped, its own error is reported instead.
                        chunks
                            .send(bytes.to_vec())
                            .await
                            .map_err(|_| self.disconnected())
                    }
                },
            )
            .await;
        drop(chunks);
        finish(source, joined(unpacking).await, ended, &stderr)
    }
}

/// Last part of a remote path, which names the local copy.
fn base_name(source: &str) -> Result<&str, SshError> {
    let trimmed = source.trim_end_matches('/');
    let base = trimmed.rsplit('/').next().unwrap_or_default();
    if !source.starts_with('/') || matches!(base, "" | "." | "..") || source.contains('\0') {
        return Err(SshError::Download {
            path: source.to_owned(),
            reason: "expected the absolute path of a file or directory".to_owned(),
        });
    }
    Ok(base)
}

/// Commits what was unpacked, unless either side failed.
fn finish(
    path: &str,
    unpacked: Result<Staged, UnpackError>,
    ended: Result<Exit, SshError>,
    stderr: &Tail,
) -> Result<(), SshError> {
    let path = path.to_owned();
    match (unpacked, ended) {
        (Err(UnpackError::Hostile(problem)), _) => Err(SshError::Hostile { path, problem }),
        (Err(UnpackError::Write { path, source }), _) => Err(SshError::Write { path, source }),
        (_, Err(error)) => Err(error),
        // tar exits with 1 if a file, such as a log, grew while it was read.
        (Ok(staged), Ok(exit)) if matches!(exit.code, Some(0 | 1)) => staged.commit(),
        (unpacked, Ok(exit)) => Err(SshError::Download {
            path,
            reason: match (stderr.text(), unpacked) {
                (text, _) if !text.is_empty() => text,
                (_, Err(UnpackError::Broken(error))) => format!("the archive is broken: {error}"),
                _ => format!("the remote command {exit}"),
            },
        }),
    }
}

enum UnpackError {
    Hostile(String),
    Write { path: PathBuf, source: io::Error },
    Broken(io::Error),
}

/// Files unpacked beside the target; removed unless committed.
struct Staged {
    directory: tempfile::TempDir,
    base: PathBuf,
    target: PathBuf,
}

impl Staged {
    fn commit(self) -> Result<(), SshError> {
        let result = merge(&self.directory.path().join(&self.base), &self.target);
        result.map_err(|(path, source)| SshError::Write { path, source })
    }
}

/// Renames `from` to `to`; merges a directory into an existing one.
fn merge(from: &Path, to: &Path) -> Result<(), (PathBuf, io::Error)> {
    let failed = |source| (to.to_owned(), source);
    if !(from.is_dir() && to.is_dir()) {
        return fs::rename(from, to).map_err(failed);
    }
    for entry in fs::read_dir(from).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        merge(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

fn unpack(chunks: Receiver<Vec<u8>>, base: &OsStr, target: &Path) -> Result<Staged, UnpackError> {
    let parent = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |source| UnpackError::Write { path, source }
    };
    fs::create_dir_all(parent).map_err(cannot(parent))?;
    let directory = tempfile::Builder::new()
        .prefix(".karat-")
        .tempdir_in(parent)
        .map_err(cannot(parent))?;
    let mut archive = tar::Archive::new(ChunkReader {
        chunks,
        current: Vec::new(),
        used: 0,
    });
    for entry in archive.entries().map_err(UnpackError::Broken)? {
        let mut entry = entry.map_err(UnpackError::Broken)?;
        let inside = checked(&entry.path_bytes(), base)?;
        let path = directory.path().join(&inside);
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&path).map_err(cannot(&path))?,
            EntryType::Regular | EntryType::Continuous => {
                let mode = entry.header().mode().map_err(UnpackError::Broken)?;
                write(&mut entry, &path, mode)?;
            }
            kind => {
                return Err(UnpackError::Hostile(format!(
                    "{} is a {kind:?}",
                    inside.display()
                )));
            }
        }
    }
    // tar pads its last record; leaving it unread would look like a lost connection.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(UnpackError::Broken)?;
    let staged = Staged {
        directory,
        base: PathBuf::from(base),
        target: target.to_owned(),
    };
    if staged.directory.path().join(base).exists() {
        Ok(staged)
    } else {
        Err(UnpackError::Broken(io::ErrorKind::UnexpectedEof.into()))
    }
}

/// Checks that a member's path is the requested one or below it.
fn checked(name: &[u8], base: &OsStr) -> Result<PathBuf, UnpackError> {
    let path = Path::new(OsStr::from_bytes(name));
    let hostile = || {
        UnpackError::Hostile(format!(
            "the path {:?} is outside the requested one",
            path.display().to_string()
        ))
    };
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            _ => return Err(hostile()),
        }
    }
    if inside.components().next() == Some(Component::Normal(base)) {
        Ok(inside)
    } else {
        Err(hostile())
    }
}

/// Writes one file with its permission bits, without set-id bits and write access for others.
fn write(entry: &mut impl Read, path: &Path, mode: u32) -> Result<(), UnpackError> {
    let cannot = |source| UnpackError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(cannot)?;
    }
    let mut file = File::create(path).map_err(cannot)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = entry.read(&mut buffer).map_err(UnpackError::Broken)?;
        if count == 0 {
            break;
        }
        io::Write::write_all(&mut file, &buffer[..count]).map_err(cannot)?;
    }
    file.set_permissions(Permissions::from_mode(mode & 0o755 | 0o600))
        .map_err(cannot)
}

/// Reads the chunks that arrive from the network.
struct ChunkReader {
    chunks: Receiver<Vec<u8>>,
    current: Vec<u8>,
    used: usize,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.current.len() {
            self.current = self.chunks.blocking_recv().unwrap_or_default();
            self.used = 0;
        }
        let count = buffer.len().min(self.current.len() - self.used);
        buffer[..count].copy_from_slice(&self.current[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_accepted() {
        let cases: [(&[u8], Option<&str>); 10] = [
            (b"./log", Some("log")),
            (b"./log/a b", Some("log/a b")),
            (b"log/", Some("log")),
            (b"./log/../x", None),
            (b"../x", None),
            (b"/log", None),
            (b"/etc/passwd", None),
            (b"other", None),
            (b".", None),
            (b"", None),
        ];
        for (name, expected) in cases {
            let result = checked(name, OsStr::new("log")).ok();
            assert_eq!(
                result,
                expected.map(PathBuf::from),
                "{:?}",
                String::from_utf8_lossy(name)
            );
        }
    }
}
