//! Digest cache: digests of large local files, valid while the file is unchanged.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::os::atomic_file;
use crate::os::hash_stream::{self, Stop};

/// A file that changed this recently may change again within one tick of the file system's clock, which would go unnoticed.
const MIN_AGE: Duration = Duration::from_secs(2);

/// A smaller file is hashed as fast as its digest is looked up.
const MIN_BYTES: u64 = 1 << 20;

/// State of a file when it was hashed.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    digest: Digest,
}

/// Returns digest and size of a file, from directory `notes` if the file is unchanged. Failure to write a note is ignored.
pub fn digest(
    notes: &Path,
    path: &Path,
    stop: &Stop,
    progress: impl Fn(u64),
) -> io::Result<(Digest, u64)> {
    let path = std::path::absolute(path)?;
    let mut file = File::open(&path)?;
    let before = file.metadata()?;
    let note = notes.join(Digest::of(path.as_os_str().as_encoded_bytes()).hex());
    if before.len() >= MIN_BYTES
        && let Some(known) = recall(&note)
        && known == Note::new(&path, &before, known.digest)
    {
        progress(known.size);
        return Ok((known.digest, known.size));
    }
    let (digest, size) = hash_stream::digest(&mut file, stop, progress)?;
    let after = Note::new(&path, &file.metadata()?, digest);
    if size >= MIN_BYTES && after == Note::new(&path, &before, digest) && settled(&before) {
        drop(remember(notes, &note, &after));
    }
    Ok((digest, size))
}

fn settled(metadata: &Metadata) -> bool {
    let seconds = metadata.mtime().max(metadata.ctime());
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    changed.elapsed().is_ok_and(|age| age > MIN_AGE)
}

fn recall(note: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(note).ok()?).ok()
}

fn remember(notes: &Path, name: &Path, note: &Note) -> io::Result<()> {
    std::fs::create_dir_all(notes)?;
    atomic_file::write(name, 0o600, &serde_json::to_vec(note)?)
}

impl Note {
    fn new(path: &Path, metadata: &Metadata, digest: Digest) -> Self {
        Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_changed_file_is_hashed_again_even_with_its_old_times() {
        let scratch = tempfile::tempdir().unwrap();
        let (notes, path) = (scratch.path().join("notes"), scratch.path().join("disk"));
        let hashes = Cell::new(0);
        let digest = || {
            hashes.set(0);
            let progress = |_| hashes.set(hashes.get() + 1);
            digest(&notes, &path, &Stop::default(), progress).unwrap().0
        };
        let bytes = vec![1; 3 << 20];
        std::fs::write(&path, &bytes).unwrap();
        let written = path.metadata().unwrap().modified().unwrap();
        // Too new to be remembered: each call hashes its three blocks.
        assert_eq!((digest(), hashes.get()), (Digest::of(&bytes), 3));
        assert_eq!((digest(), hashes.get()), (Digest::of(&bytes), 3));
        std::thread::sleep(MIN_AGE + Duration::from_millis(1100));
        assert_eq!((digest(), hashes.get()), (Digest::of(&bytes), 3));
        assert_eq!((digest(), hashes.get()), (Digest::of(&bytes), 1));

        let other = vec![2; 3 << 20];
        std::fs::write(&path, &other).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(written).unwrap();
        assert_eq!((digest(), hashes.get()), (Digest::of(&other), 3));
    }
}
