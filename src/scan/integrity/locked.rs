//! Content of the packages of a lock file, read from the package files on this host. It is cached by the digest of the file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::trusted::LockedPackage;
use crate::digest::Digest;
use crate::distro::debian::deb::{self, PackageContent};
use crate::os::atomic_file;
use crate::os::hash_stream::StreamHash;
use crate::record::lock::{self, Lock, Manager};
use crate::scan::ScanError;

/// Compression level of cached contents. Higher ones save a few percent.
const LEVEL: i32 = 3;
/// Everybody may read what is in a public package.
const MODE: u32 = 0o644;

/// Reads the packages of a lock file; `path_of` returns the path of the file with a digest. Leaves out files that are not there:
/// a store keeps no package files of images that it has pruned. `cache` is a directory of contents that were read before.
///
/// # Errors
/// A file cannot be read, is not the locked one or is not a package.
pub(crate) fn read_packages(
    lock: &Lock,
    cache: Option<&Path>,
    path_of: impl Fn(&Digest) -> PathBuf + Sync,
) -> Result<Vec<LockedPackage>, ScanError> {
    if lock.request.manager != Some(Manager::Apt) {
        return Ok(Vec::new());
    }
    let packages = lock.packages.par_iter().map(|package| {
        let cached = cache.map(|cache| cache.join(package.sha256.hex()));
        let known = cached.as_deref().and_then(recall);
        let content = match known {
            Some(content) => Some(content),
            None => read(package, &path_of(&package.sha256))?.inspect(|content| {
                // A cache that cannot be written only costs time.
                cached.map(|cached| remember(&cached, content));
            }),
        };
        Ok(content.map(|content| LockedPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            architecture: package.architecture.clone(),
            content,
        }))
    });
    let found: Vec<Option<LockedPackage>> = packages.collect::<Result<_, ScanError>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Reads a cached content; `None` if there is none, or an older karat has written it in another form.
fn recall(path: &Path) -> Option<PackageContent> {
    let text = zstd::Decoder::new(File::open(path).ok()?).ok()?;
    serde_json::from_reader(BufReader::new(text)).ok()
}

fn remember(path: &Path, content: &PackageContent) -> io::Result<()> {
    let text = serde_json::to_vec(content)?;
    atomic_file::make_directory(atomic_file::directory_of(path))?;
    atomic_file::write(path, MODE, &zstd::encode_all(&*text, LEVEL)?)
}

fn read(package: &lock::LockedPackage, path: &Path) -> Result<Option<PackageContent>, ScanError> {
    let failed = |source| ScanError::Package {
        path: path.to_owned(),
        name: package.name.clone(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut hashed = HashedReader {
        file: BufReader::with_capacity(256 << 10, file),
        hash: StreamHash::default(),
    };
    let content = deb::content(&mut hashed).map_err(failed)?;
    io::copy(&mut hashed, &mut io::sink()).map_err(failed)?;
    let actual = hashed.hash.digest();
    if actual != package.sha256 {
        let problem = format!("it is {actual}, the lock file has {}", package.sha256);
        return Err(failed(io::Error::other(problem)));
    }
    Ok(Some(content))
}

/// Hashes what is read.
struct HashedReader {
    file: BufReader<File>,
    hash: StreamHash,
}

impl Read for HashedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distro::debian::deb::{Entry, EntryKind};

    #[test]
    fn cached_content_is_read_again_and_a_damaged_cache_is_none() {
        let entry = |path: &[u8], kind| Entry {
            path: path.to_vec(),
            mode: 0o4755,
            owner: (0, 8),
            kind,
        };
        let content = PackageContent {
            entries: vec![
                entry(b"/usr/bin/\xff", EntryKind::File([7; 16])),
                entry(b"/usr/bin", EntryKind::Directory),
                entry(b"/usr/bin/sh", EntryKind::Link(b"dash".to_vec())),
                entry(b"/dev/x", EntryKind::Special),
            ],
            conffiles: vec![b"/etc/x".to_vec()],
            scripts: "exit 0\n".to_owned(),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("contents/x");
        assert_eq!(recall(&path), None);
        remember(&path, &content).unwrap();
        assert_eq!(recall(&path), Some(content));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(recall(&path), None);
        remember(&path, &PackageContent::default()).unwrap();
        let other = zstd::encode_all(&b"{\"entries\":[],\"conffiles\":[]}"[..], LEVEL).unwrap();
        std::fs::write(&path, other).unwrap();
        assert_eq!(recall(&path), None);
    }
}
