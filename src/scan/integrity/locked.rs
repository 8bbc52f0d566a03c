//! Content of the packages of a lock file, read from the package files on this host.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::trusted::LockedPackage;
use crate::digest::Digest;
use crate::distro::debian::deb;
use crate::os::hash_stream::StreamHash;
use crate::record::lock::{self, Lock, Manager};
use crate::scan::ScanError;

/// Reads the packages of a lock file; `path_of` returns the path of the file with a digest. Leaves out files that are not there:
/// a store keeps no package files of images that it has pruned.
///
/// # Errors
/// A file cannot be read, is not the locked one or is not a package.
pub(crate) fn read_packages(
    lock: &Lock,
    path_of: impl Fn(&Digest) -> PathBuf + Sync,
) -> Result<Vec<LockedPackage>, ScanError> {
    if lock.request.manager != Some(Manager::Apt) {
        return Ok(Vec::new());
    }
    let packages = lock.packages.par_iter();
    let read = packages.map(|package| read(package, &path_of(&package.sha256)));
    let found: Vec<Option<LockedPackage>> = read.collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn read(package: &lock::LockedPackage, path: &Path) -> Result<Option<LockedPackage>, ScanError> {
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
    Ok(Some(LockedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        content,
    }))
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
