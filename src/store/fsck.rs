//! Whether what is stored is what was stored: every byte is read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::{Image, Store, StoreError, entries, name_of};
use crate::digest::Digest;
use crate::os::atomic_file::UNFINISHED;
use crate::os::hash_stream::{self, Stop};
use crate::pipeline::manifest_inputs::listed;
use crate::record::lock::Lock;
use crate::record::manifest::{Action, Manifest, ManifestId, SourceKind};

/// What was read, and what was wrong with it.
#[derive(Debug, Default)]
pub struct Checked {
    /// Manifests.
    pub manifests: usize,
    /// Records of builds.
    pub records: usize,
    /// Results of scans.
    pub scans: usize,
    /// Statements about manifests.
    pub attestations: usize,
    /// Lines of the audit log.
    pub lines: usize,
    /// Moves of channels.
    pub moves: usize,
    /// Blobs that were hashed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What an image was made from and is not here: only a rebuild needs it. Empty for a check of the whole store.
    pub missing: Vec<(String, Digest)>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Something that is not as it was stored.
#[derive(Debug, Error, Diagnostic)]
pub enum Fault {
    /// A file has other bytes, or cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A blob is missing.
    #[error("{what} is not in the store: {digest}")]
    #[diagnostic(help("copy the blob from another store that has it, or build again"))]
    Missing {
        /// What it is.
        what: String,
        /// Its digest.
        digest: Digest,
    },
    /// A blob has another size than the manifest says.
    #[error("{} has {actual} bytes, and the manifest says {expected}", path.display())]
    #[diagnostic(help("copy the blob from another store that has it, or build again"))]
    Size {
        /// The blob.
        path: PathBuf,
        /// Its size.
        actual: u64,
        /// What it should be.
        expected: u64,
    },
    /// There is a file that nothing stores.
    #[error("{} is no file of a store", .0.display())]
    #[diagnostic(help("move it away; somebody has put it there by hand"))]
    Stranger(PathBuf),
}

impl Store {
    /// Reads a manifest and everything that it refers to.
    ///
    /// # Errors
    /// The work was told to stop. What is wrong with the store is in the result.
    pub fn check_one(
        &self,
        id: ManifestId,
        stop: &Stop,
        progress: &dyn Fn(u64),
    ) -> io::Result<Checked> {
        let mut check = Check::new(self, stop, progress);
        let Some(manifest) = check.manifest(id) else {
            return Ok(check.checked);
        };
        let image = &manifest.outputs.image;
        check.image(&image.digest, image.size)?;
        check.beside(id);
        check.audit();
        check.tombstones();
        for (what, digest) in self.materials(&manifest) {
            check.blob(&what, &digest, Need::Rebuild)?;
        }
        // Some of these were downloaded and are blobs, some were in the template itself.
        for digest in put_in(&manifest) {
            check.blob("a file", &digest, Need::Never)?;
        }
        Ok(check.checked)
    }

    /// Reads every file of the store.
    ///
    /// # Errors
    /// The work was told to stop. What is wrong with the store is in the result.
    pub fn check_all(&self, stop: &Stop, progress: &dyn Fn(u64)) -> io::Result<Checked> {
        let mut check = Check::new(self, stop, progress);
        let mut ids = BTreeSet::new();
        for path in check.entries(&self.manifests()) {
            if let Some(id) = name_of::<ManifestId>(&path, "json") {
                ids.insert(id);
            } else {
                check.stranger(path);
            }
        }
        let removed = check.tombstones();
        for &id in &ids {
            if let Some(manifest) = check.manifest(id) {
                let image = &manifest.outputs.image;
                if removed.contains(&id) {
                    continue;
                }
                if let Some(found) = check.found(&image.digest) {
                    check.size(&found, image.size);
                }
            }
        }
        check.audit();
        for directory in self.kinds() {
            for path in check.entries(&directory) {
                // What a manifest is about that was never recorded is no harm, and is read all the same.
                match path
                    .file_name()
                    .and_then(|name| name.to_str()?.parse().ok())
                {
                    Some(id) => drop(ids.insert(id)),
                    None => check.stranger(path),
                }
            }
        }
        for id in ids {
            check.beside(id);
        }
        for directory in check.entries(&self.channels_directory()) {
            let image = directory.file_name().unwrap_or_default().to_string_lossy();
            let image = image.into_owned();
            for path in check.entries(&directory) {
                check.channel(&image, path);
            }
        }
        check.recipes();
        for path in check.entries(&self.blobs()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let digest: Option<Digest> = name.and_then(|name| name.parse().ok());
            match digest {
                Some(digest) => check.blob("a blob", &digest, Need::Always)?,
                None => check.stranger(path),
            }
        }
        Ok(check.checked)
    }

    /// What an image was made from, with what each is.
    pub(super) fn materials(&self, manifest: &Manifest) -> Vec<(String, Digest)> {
        let (inputs, outputs) = (&manifest.inputs, &manifest.outputs);
        let mut all = vec![("the base".to_owned(), inputs.base.digest)];
        if let Some(lock) = inputs.lock {
            all.push(("the lock".to_owned(), lock.digest));
            let text = fs::read_to_string(self.blob(&lock.digest)).unwrap_or_default();
            // One that is damaged is named by its own digest.
            let lock = Lock::from_toml(&text, &self.blob(&lock.digest));
            let packages = lock.map(|lock| lock.packages);
            let packages = packages.unwrap_or_default().into_iter();
            all.extend(packages.map(|it| (format!("the package {}", it.name), it.sha256)));
        }
        if let Some(tree) = outputs.tree {
            all.push(("the list of files".to_owned(), tree.listing));
        }
        for (path, source) in &inputs.sources {
            all.push((path.clone(), source.digest));
            if source.kind == SourceKind::Directory {
                let listing = fs::read(self.blob(&source.digest)).unwrap_or_default();
                let files = listed(&listing).flatten();
                let digests = files.filter_map(|it| Some((it.path, it.digest?)));
                all.extend(
                    digests.map(|(file, digest)| (format!("{path}/{}", file.display()), digest)),
                );
            }
        }
        all
    }
}

/// The files that were put into an image.
pub(super) fn put_in(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    let steps = manifest.inputs.steps.iter();
    let steps = steps.filter_map(|step| match &step.action {
        Action::File(file) => Some(file),
        _ => None,
    });
    let files = manifest.inputs.files.iter().chain(steps);
    files.map(|file| file.digest)
}

/// What cannot be done without a blob.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Always,
    Rebuild,
    Never,
}

struct Check<'a> {
    store: &'a Store,
    stop: &'a Stop,
    progress: &'a dyn Fn(u64),
    hashed: BTreeSet<Digest>,
    checked: Checked,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store, stop: &'a Stop, progress: &'a dyn Fn(u64)) -> Self {
        Self {
            store,
            stop,
            progress,
            hashed: BTreeSet::new(),
            checked: Checked::default(),
        }
    }

    fn fault(&mut self, fault: impl Into<Fault>) {
        self.checked.faults.push(fault.into());
    }

    /// A file that has no name of the store's; one that is just being written may have a passing one.
    fn stranger(&mut self, path: PathBuf) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if !name.starts_with(UNFINISHED.as_bytes()) {
            self.fault(Fault::Stranger(path));
        }
    }

    fn entries(&mut self, directory: &Path) -> Vec<PathBuf> {
        let mut found = entries(directory).unwrap_or_else(|error| {
            self.fault(error);
            Vec::new()
        });
        found.sort();
        found
    }

    fn manifest(&mut self, id: ManifestId) -> Option<Manifest> {
        match self.store.manifest(id) {
            Ok(stored) => {
                self.checked.manifests += 1;
                Some(stored.manifest)
            }
            Err(error) => {
                self.fault(error);
                None
            }
        }
    }

    /// Records, scans and signatures of a manifest.
    fn beside(&mut self, id: ManifestId) {
        let store = self.store;
        match store.records_of(id) {
            Ok(records) => self.checked.records += records.len(),
            Err(error) => self.fault(error),
        }
        match store.scans_of(id) {
            Ok(scans) => {
                self.checked.scans += scans.len();
                for scan in scans {
                    for digest in scan.blobs() {
                        // Whoever is told to stop hears it at the next blob.
                        let _ = self.blob("what a scan found", &digest, Need::Always);
                    }
                }
            }
            Err(error) => self.fault(error),
        }
        if let Err(error) = store.signatures_of(id) {
            self.fault(error);
        }
        match store.attestations_of(id) {
            Ok(attestations) => self.checked.attestations += attestations.len(),
            Err(error) => self.fault(error),
        }
        if let Err(error) = store.pins_of(id) {
            self.fault(error);
        }
        for directory in store.kinds() {
            for path in self.entries(&directory.join(id.to_string())) {
                let is = |extension| name_of::<ManifestId>(&path, extension).is_some();
                if !is("json") && !is("sig") {
                    self.stranger(path);
                }
            }
        }
    }

    /// Images whose bytes were removed by pruning, and pins.
    fn tombstones(&mut self) -> BTreeSet<ManifestId> {
        match self.store.tombstones() {
            Ok(tombstones) => {
                let images = tombstones.images.into_iter();
                let removed = images.filter(|(_, mark)| mark.removed.is_some());
                removed.map(|(id, _)| id).collect()
            }
            Err(error) => {
                self.fault(error);
                BTreeSet::new()
            }
        }
    }

    /// The log of all changes.
    fn audit(&mut self) {
        match self.store.audit() {
            Ok(log) => self.checked.lines = log.lines.len(),
            Err(error) => self.fault(error),
        }
        if let Err(error) = self.store.checkpoint() {
            self.fault(error);
        }
        if let Err(error) = self.store.forwarded() {
            self.fault(error);
        }
    }

    /// A channel and the rules of who may move it.
    fn channel(&mut self, image: &str, path: PathBuf) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let channel = file.strip_suffix(".json");
        let name = channel.and_then(|channel| format!("{image}/{channel}").parse().ok());
        match name {
            Some(name) => match self.store.channel(&name) {
                Ok(channel) => self.checked.moves += channel.moves.len(),
                Err(error) => self.fault(error),
            },
            None if file.ends_with(".toml") || file.ends_with(".lock") => {}
            None => self.stranger(path),
        }
    }

    /// An image with all that it is put together from.
    fn found(&mut self, digest: &Digest) -> Option<Image> {
        match self.store.image(digest) {
            Ok(image) => return Some(image),
            Err(StoreError::NoImage(digest)) => {
                let what = "the image".to_owned();
                self.fault(Fault::Missing { what, digest });
            }
            Err(error) => self.fault(error),
        }
        None
    }

    fn size(&mut self, image: &Image, expected: u64) {
        let actual = image.size();
        if actual != expected {
            let path = image.place();
            self.fault(Fault::Size {
                path,
                actual,
                expected,
            });
        }
    }

    /// Puts an image together, and compares it.
    fn image(&mut self, digest: &Digest, size: u64) -> io::Result<()> {
        let Some(image) = self.found(digest) else {
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
                self.checked.blobs += blobs.len();
                self.checked.bytes += read.size;
                self.hashed.extend(blobs);
            }
            Err(error) => {
                self.stop.check()?;
                self.fault(error);
            }
        }
        Ok(())
    }

    /// Reads every recipe. Whether blobs are what they are called is looked at once for each of them.
    fn recipes(&mut self) {
        for directory in self.entries(&self.store.images_directory()) {
            let name = directory.file_name().and_then(|name| name.to_str());
            let Some(image) = name.and_then(|name| name.parse::<Digest>().ok()) else {
                self.stranger(directory);
                continue;
            };
            match self.store.recipes(&image) {
                Ok(recipes) => {
                    for error in recipes.into_iter().filter_map(Result::err) {
                        self.fault(error);
                    }
                }
                Err(error) => self.fault(error),
            }
            for path in self.entries(&directory) {
                if name_of::<Digest>(&path, "json").is_none() {
                    self.stranger(path);
                }
            }
        }
    }

    /// Hashes a blob, each once.
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
                self.checked.blobs += 1;
                self.checked.bytes += size;
                if actual != *digest {
                    self.fault(StoreError::Tampered { path, actual });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A base can be an image of the store.
                if let Ok(image) = self.store.image(digest) {
                    return self.image(digest, image.size());
                }
                let (what, digest) = (what.to_owned(), *digest);
                match need {
                    Need::Always => self.fault(Fault::Missing { what, digest }),
                    Need::Rebuild => self.checked.missing.push((what, digest)),
                    Need::Never => {}
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
