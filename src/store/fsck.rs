//! Full verification: every file of the store, or of one manifest, is read and compared with its digest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::layout::{entries, parse_name, parse_stem};
use super::materials::uploads;
use super::transaction::is_unfinished;
use super::{Image, Store, StoreError};
use crate::digest::Digest;
use crate::os::hash_stream::{self, Stop};
use crate::record::manifest::{Manifest, ManifestId};

/// Result of a verification.
#[derive(Debug, Default)]
pub struct Checked {
    pub manifests: usize,
    /// Number of build records that were read.
    pub records: usize,
    pub scans: usize,
    pub attestations: usize,
    /// Number of lines of the audit log.
    pub lines: usize,
    /// Number of moves of channels.
    pub moves: usize,
    /// Number of blobs that were hashed.
    pub blobs: usize,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Materials that are not in the store: only a rebuild needs them. Empty for a check of the whole store.
    pub missing: Vec<(String, Digest)>,
    pub faults: Vec<Fault>,
}

/// A file that failed verification.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the message of a variant documents it")]
pub enum Fault {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error("{what} is not in the store: {digest}")]
    #[diagnostic(help("copy the blob from another store that has it, or build again"))]
    Missing { what: String, digest: Digest },
    #[error("{} has {actual} bytes, but the manifest says {expected}", path.display())]
    #[diagnostic(help("copy the blob from another store that has it, or build again"))]
    Size {
        path: PathBuf,
        actual: u64,
        expected: u64,
    },
    #[error("{} does not belong to the store", .0.display())]
    #[diagnostic(help("karat did not write it; move it elsewhere"))]
    Stranger(PathBuf),
}

impl Store {
    /// Verifies a manifest and everything that it refers to. Problems are in the result.
    ///
    /// # Errors
    /// The work was stopped.
    pub fn check_one(
        &self,
        id: ManifestId,
        stop: &Stop,
        progress: &dyn Fn(u64),
    ) -> io::Result<Checked> {
        let mut check = Check::new(self, stop, progress);
        let Some(manifest) = check.manifest(id) else {
            return Ok(check.result);
        };
        let image = &manifest.outputs.image;
        check.image(&image.digest, image.size)?;
        check.sidecars(id);
        check.audit();
        check.tombstones();
        for (what, digest) in self.materials(&manifest) {
            check.blob(&what, &digest, Need::Rebuild)?;
        }
        // Uploads that were downloaded are blobs; those that are part of the template are not.
        for digest in uploads(&manifest) {
            check.blob("a file", &digest, Need::Optional)?;
        }
        Ok(check.result)
    }

    /// Verifies every file of the store. Problems are in the result.
    ///
    /// # Errors
    /// The work was stopped.
    pub fn check_all(&self, stop: &Stop, progress: &dyn Fn(u64)) -> io::Result<Checked> {
        let mut check = Check::new(self, stop, progress);
        let mut ids = check.manifests();
        check.audit();
        for directory in self.sidecar_directories() {
            for path in check.entries(&directory) {
                // A sidecar whose manifest was never recorded does no harm, and is read all the same.
                match parse_name(&path) {
                    Some(id) => drop(ids.insert(id)),
                    None => check.stranger(path),
                }
            }
        }
        for id in ids {
            check.sidecars(id);
        }
        for directory in check.entries(&self.channels_directory()) {
            let image = directory.file_name().unwrap_or_default().to_string_lossy();
            let image = image.into_owned();
            for path in check.entries(&directory) {
                check.channel(&image, path);
            }
        }
        check.chunk_indexes();
        for path in check.entries(&self.blobs()) {
            match parse_name::<Digest>(&path) {
                Some(digest) => check.blob("a blob", &digest, Need::Always)?,
                None => check.stranger(path),
            }
        }
        Ok(check.result)
    }
}

/// Meaning of a missing blob.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The store is damaged.
    Always,
    /// The image cannot be rebuilt, which is reported but not a fault.
    Rebuild,
    /// The blob need not be in the store.
    Optional,
}

/// State of a verification.
struct Check<'a> {
    store: &'a Store,
    stop: &'a Stop,
    progress: &'a dyn Fn(u64),
    hashed: BTreeSet<Digest>,
    result: Checked,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store, stop: &'a Stop, progress: &'a dyn Fn(u64)) -> Self {
        Self {
            store,
            stop,
            progress,
            hashed: BTreeSet::new(),
            result: Checked::default(),
        }
    }

    fn fault(&mut self, fault: impl Into<Fault>) {
        self.result.faults.push(fault.into());
    }

    /// Records the fault of a result that is an error.
    fn or_fault<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        result.map_err(|error| self.fault(error)).ok()
    }

    /// Reports a file whose name the store does not use. Another process may be writing a temporary file.
    fn stranger(&mut self, path: PathBuf) {
        if !is_unfinished(&path) {
            self.fault(Fault::Stranger(path));
        }
    }

    fn entries(&mut self, directory: &Path) -> Vec<PathBuf> {
        let mut paths = self.or_fault(entries(directory)).unwrap_or_default();
        paths.sort();
        paths
    }

    fn manifest(&mut self, id: ManifestId) -> Option<Manifest> {
        let stored = self.or_fault(self.store.manifest(id))?;
        self.result.manifests += 1;
        Some(stored.manifest)
    }

    /// Checks all manifests, and that their images exist unless pruning removed them. Returns their ids.
    fn manifests(&mut self) -> BTreeSet<ManifestId> {
        let mut ids = BTreeSet::new();
        for path in self.entries(&self.store.manifests()) {
            match parse_stem::<ManifestId>(&path, "json") {
                Some(id) => drop(ids.insert(id)),
                None => self.stranger(path),
            }
        }
        let removed = self.tombstones();
        for &id in &ids {
            if let Some(manifest) = self.manifest(id)
                && !removed.contains(&id)
                && let Some(image) = self.find_image(&manifest.outputs.image.digest)
            {
                self.size(&image, manifest.outputs.image.size);
            }
        }
        ids
    }

    fn sidecars(&mut self, id: ManifestId) {
        let store = self.store;
        if let Some(records) = self.or_fault(store.records_of(id)) {
            self.result.records += records.len();
        }
        for scan in self.or_fault(store.scans_of(id)).unwrap_or_default() {
            self.result.scans += 1;
            for digest in scan.blobs() {
                // A stop is reported by the next blob.
                let _ = self.blob("a scan result", &digest, Need::Always);
            }
        }
        self.or_fault(store.signatures_of(id));
        if let Some(attestations) = self.or_fault(store.attestations_of(id)) {
            self.result.attestations += attestations.len();
        }
        self.or_fault(store.pins_of(id));
        for directory in store.sidecar_directories() {
            for path in self.entries(&directory.join(id.to_string())) {
                let is = |extension| parse_stem::<ManifestId>(&path, extension).is_some();
                if !is("json") && !is("sig") {
                    self.stranger(path);
                }
            }
        }
    }

    /// Returns the images whose bytes were removed by pruning.
    fn tombstones(&mut self) -> BTreeSet<ManifestId> {
        let tombstones = self.or_fault(self.store.tombstones()).unwrap_or_default();
        let images = tombstones.images.into_iter();
        let removed = images.filter(|(_, mark)| mark.removed.is_some());
        removed.map(|(id, _)| id).collect()
    }

    /// Checks the audit log, its checkpoint, and the state of its forwarding.
    fn audit(&mut self) {
        if let Some(log) = self.or_fault(self.store.audit()) {
            self.result.lines = log.lines.len();
        }
        self.or_fault(self.store.checkpoint());
        self.or_fault(self.store.forwarded());
    }

    /// Checks a file in the directory of an image's channels.
    fn channel(&mut self, image: &str, path: PathBuf) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let channel = file.strip_suffix(".json");
        let name = channel.and_then(|channel| format!("{image}/{channel}").parse().ok());
        match name {
            Some(name) => {
                if let Some(channel) = self.or_fault(self.store.channel(&name)) {
                    self.result.moves += channel.moves.len();
                }
            }
            None if file.ends_with(".toml") || file.ends_with(".lock") => {}
            None => self.stranger(path),
        }
    }

    fn find_image(&mut self, digest: &Digest) -> Option<Image> {
        match self.store.image(digest) {
            Err(StoreError::NoImage(digest)) => {
                let what = "the image".to_owned();
                self.fault(Fault::Missing { what, digest });
                None
            }
            found => self.or_fault(found),
        }
    }

    fn size(&mut self, image: &Image, expected: u64) {
        let actual = image.size();
        if actual != expected {
            let path = image.location();
            self.fault(Fault::Size {
                path,
                actual,
                expected,
            });
        }
    }

    /// Assembles an image and verifies it.
    fn image(&mut self, digest: &Digest, size: u64) -> io::Result<()> {
        let Some(image) = self.find_image(digest) else {
            return Ok(());
        };
        self.size(&image, size);
        let blobs = image.blobs();
        let read = image.read(self.stop, |bytes| {
            (self.progress)(bytes.len() as u64);
            Ok(())
        });
        match read {
            Ok(read) => {
                self.result.blobs += blobs.len();
                self.result.bytes += read.size;
                self.hashed.extend(blobs);
            }
            Err(error) => {
                self.stop.check()?;
                self.fault(error);
            }
        }
        Ok(())
    }

    /// Checks every chunk index. The chunks themselves are verified as blobs.
    fn chunk_indexes(&mut self) {
        for directory in self.entries(&self.store.images_directory()) {
            let Some(image) = parse_name::<Digest>(&directory) else {
                self.stranger(directory);
                continue;
            };
            let indexes = self.or_fault(self.store.chunk_indexes(&image));
            for error in indexes.into_iter().flatten().filter_map(Result::err) {
                self.fault(error);
            }
            for path in self.entries(&directory) {
                if parse_stem::<Digest>(&path, "json").is_none() {
                    self.stranger(path);
                }
            }
        }
    }

    /// Hashes a blob, unless it was hashed before.
    fn blob(&mut self, what: &str, digest: &Digest, need: Need) -> io::Result<()> {
        if !self.hashed.insert(*digest) {
            return Ok(());
        }
        let path = self.store.blob(digest);
        let read = || {
            let file = File::open(&path)?;
            hash_stream::digest(&file, self.stop, self.progress)
        };
        match read() {
            Ok((actual, size)) => {
                self.result.blobs += 1;
                self.result.bytes += size;
                if actual != *digest {
                    self.fault(StoreError::Tampered { path, actual });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A base may be an image that is stored in chunks.
                if let Ok(image) = self.store.image(digest) {
                    return self.image(digest, image.size());
                }
                let (what, digest) = (what.to_owned(), *digest);
                match need {
                    Need::Always => self.fault(Fault::Missing { what, digest }),
                    Need::Rebuild => self.result.missing.push((what, digest)),
                    Need::Optional => {}
                }
            }
            Err(error) => {
                self.stop.check()?;
                self.fault(StoreError::io("read", &path)(error));
            }
        }
        Ok(())
    }
}
