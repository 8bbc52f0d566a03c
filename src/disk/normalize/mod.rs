//! Normalizes the disk of a stopped guest: equal inputs give equal image files.
//!
//! ```text
//! overlay + base -> partitions -> ext4 -> tree -> clean -> new ext4 -> image -> read back
//! ```

pub mod source;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use thiserror::Error;

use self::source::{Container, SourceDisk};
use super::clean::{self, CleanError, CleanReport, CustomRules, Owners};
use super::convert::{ImageFile, create, place, repack};
use super::read::ext4::Superblock;
use super::read::qcow2::{Layer, open_chain};
use super::read::{BlockRead, ReadError, Slice, Time, partitions, walk};
use super::tree::{Listing, Monitor};
use super::write::{HashedImage, WriteError, find_root};
use super::{BaseImage, DiskError, container_ids};
use crate::digest::Digest;
use crate::os::atomic_file::Unfinished;
use crate::os::hash_stream::{self, Stop};
use crate::plan;
use crate::ui::Ui;

/// A disk to normalize, and how.
#[derive(Clone, Debug)]
pub struct NormalizeRequest {
    /// The guest's disk: qcow2 overlays, the topmost first.
    pub overlays: Vec<PathBuf>,
    /// The image below the overlays.
    pub base: BaseImage,
    /// Format of the image.
    pub format: plan::Format,
    /// Latest allowed time of a file, in seconds since 1970; later times are clamped to it.
    pub epoch: i64,
    /// The template's own rules.
    pub custom_rules: CustomRules,
}

/// A normalized image, with the records about it.
#[derive(Debug)]
pub struct NormalizedImage {
    /// Sizes and digest of the image file.
    pub file: ImageFile,
    /// Digest of the disk's content, whatever its container: SHA-256 over the SHA-256 of every MiB, in order.
    pub content: Digest,
    /// Effects of the clean-up rules.
    pub cleaned: CleanReport,
    /// Listing of the tree: one canonical JSON line for each path.
    pub listing: Listing,
    /// The packages that own paths.
    pub owners: Owners,
}

/// The tree of a disk after its clean-up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CleanedTree {
    /// Listing of the tree.
    pub listing: Listing,
    /// Contents of some files; empty if there is none.
    pub texts: BTreeMap<&'static str, Vec<u8>>,
}

/// A disk that cannot be normalized.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
pub enum NormalizeError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Clean(#[from] CleanError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
}

/// Returns the creation time of a base's file system in seconds since 1970, if karat can read the file system.
#[must_use]
pub fn creation_time(base: &BaseImage) -> Option<u64> {
    let disk = open_chain(&[layer(base).ok()?]).ok()?;
    let root = find_root(&disk, &partitions::read(&disk).ok()?).ok()?;
    let superblock = Superblock::read(&Slice::new(&*disk, root.offset, root.length).ok()?).ok()?;
    Some(superblock.made)
}

/// Refuses a base whose disk cannot be written again.
///
/// # Errors
/// The base is damaged, or has a file system or a feature that karat does not write.
pub fn require_rewritable(base: &BaseImage) -> Result<(), NormalizeError> {
    SourceDisk::open(open_chain(&[layer(base)?])?)?;
    Ok(())
}

/// Normalizes a disk to the new file `to`.
///
/// # Errors
/// See [`NormalizeError`]; nothing is left at `to`.
pub async fn normalize(
    job: NormalizeRequest,
    to: &Path,
    ui: &Ui,
) -> Result<NormalizedImage, NormalizeError> {
    let (target, on_screen, format) = (to.to_owned(), ui.clone(), job.format);
    let (normalized, file) = hash_stream::blocking(move |stop| {
        let mut file = create(&target)?;
        let normalizer = Normalizer {
            source: open(&job)?,
            epoch: job.epoch,
            own: &job.custom_rules,
            stop,
            ui: &on_screen,
        };
        // qemu-img converts a raw disk to the other formats.
        let container = match format {
            plan::Format::Qcow2 => Container::Qcow2,
            _ => Container::Raw,
        };
        let path = file.path().to_owned();
        let image = normalizer.write(container, file.file(), &path)?;
        Ok::<_, NormalizeError>((image, file))
    })
    .await?;
    match format {
        plan::Format::Qcow2 | plan::Format::Raw => {
            place(file, to)?;
            Ok(normalized)
        }
        plan::Format::Vmdk | plan::Format::Vhd => convert(normalized, file, format, to, ui).await,
    }
}

/// Reads the tree that [`normalize`] would write, with the contents of the regular files at `paths`.
///
/// # Errors
/// The disk is damaged, has an unsupported feature or cannot be cleaned; a file at `paths` is larger than any of its kind.
pub async fn cleaned_tree(
    job: NormalizeRequest,
    paths: &'static [&'static str],
) -> Result<CleanedTree, NormalizeError> {
    hash_stream::blocking(move |stop| {
        let source = open(&job)?;
        let (tree, ..) = source.cleaned(job.epoch, &job.custom_rules)?;
        let monitor = Monitor {
            stop,
            progress: &|_| {},
        };
        let (listing, _) = source.list(&tree, threads(), monitor)?;
        let read = |path: &&'static str| {
            let bytes = clean::read_file(&tree, source.files(), path.as_bytes())?;
            Ok((*path, bytes.unwrap_or_default()))
        };
        let texts: Result<_, CleanError> = paths.iter().map(read).collect();
        Ok(CleanedTree {
            listing,
            texts: texts?,
        })
    })
    .await
}

/// Returns when paths of a guest's disk changed last: content, owner, rights or name. Those that are gone have no time.
///
/// # Errors
/// The disk is damaged or has an unsupported feature.
pub(crate) fn change_times(
    job: &NormalizeRequest,
    paths: &HashSet<&[u8]>,
) -> Result<HashMap<Vec<u8>, Time>, NormalizeError> {
    let (source, mut times) = (open(job)?, HashMap::new());
    walk(source.files(), |path, _, metadata| {
        let path = [b"/", path].concat();
        if paths.contains(&*path) {
            times.insert(path, metadata.ctime);
        }
        Ok::<_, ReadError>(())
    })?;
    Ok(times)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Normalizes a raw disk to the qcow2 file `to`, which is overwritten. The epoch is the creation time of its file system.
///
/// # Errors
/// See [`NormalizeError`]; the file at `to` is then incomplete.
pub async fn normalize_raw(
    raw: &Path,
    to: &Path,
    ui: &Ui,
) -> Result<NormalizedImage, NormalizeError> {
    let base = BaseImage {
        path: raw.to_owned(),
        format: "raw".to_owned(),
    };
    let (to, ui) = (to.to_owned(), ui.clone());
    hash_stream::blocking(move |stop| {
        let epoch = creation_time(&base).and_then(|made| i64::try_from(made).ok());
        let normalizer = Normalizer {
            source: SourceDisk::open(open_chain(&[layer(&base)?])?)?,
            epoch: epoch.unwrap_or_default(),
            own: &CustomRules::default(),
            stop,
            ui: &ui,
        };
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&to).map_err(DiskError::write(&to))?;
        normalizer.write(Container::Qcow2, &file, &to)
    })
    .await
}

/// Converts a normalized raw disk to a format that only qemu-img writes.
async fn convert(
    normalized: NormalizedImage,
    raw: Unfinished,
    format: plan::Format,
    to: &Path,
    ui: &Ui,
) -> Result<NormalizedImage, NormalizeError> {
    let file = create(to)?;
    let size = normalized.file.virtual_size;
    let bar = ui.bar("converting the image", Some(size));
    repack(raw.path(), format, file.path(), to, &bar, size).await?;
    drop((bar, raw));
    let content = normalized.content;
    let (hashed, file) = hash_stream::blocking(move |stop| {
        let hash = |file: &Unfinished| {
            let written = File::options().read(true).write(true).open(file.path())?;
            container_ids::settle(&written, format, content)?;
            written.sync_all()?;
            hash_stream::digest(written, stop, |_| {})
        };
        (hash(&file), file)
    })
    .await;
    let (digest, size) = hashed.map_err(DiskError::write(to))?;
    place(file, to)?;
    Ok(NormalizedImage {
        file: ImageFile {
            size,
            digest,
            ..normalized.file
        },
        ..normalized
    })
}

fn open(job: &NormalizeRequest) -> Result<SourceDisk, NormalizeError> {
    let base = open_chain(&[layer(&job.base)?])?;
    Ok(SourceDisk::open_over(open_disk(job)?, &base)?)
}

/// Opens the guest's disk: the overlays over the base.
///
/// # Errors
/// A file is damaged or has an unsupported feature.
pub fn open_disk(job: &NormalizeRequest) -> Result<Arc<dyn BlockRead>, NormalizeError> {
    let overlays = job.overlays.iter().cloned().map(Layer::Qcow2);
    let layers: Vec<_> = overlays.chain([layer(&job.base)?]).collect();
    Ok(open_chain(&layers)?)
}

fn layer(base: &BaseImage) -> Result<Layer, WriteError> {
    match base.format.as_str() {
        "qcow2" => Ok(Layer::Qcow2(base.path.clone())),
        "raw" => Ok(Layer::Raw(base.path.clone())),
        other => Err(WriteError::Unknown {
            what: format!("the format {other}"),
        }),
    }
}

/// Writes the cleaned tree of a source.
struct Normalizer<'a> {
    source: SourceDisk,
    epoch: i64,
    own: &'a CustomRules,
    stop: &'a Stop,
    ui: &'a Ui,
}

impl Normalizer<'_> {
    /// Writes to an empty file and reads it back.
    fn write(
        self,
        container: Container,
        file: &File,
        path: &Path,
    ) -> Result<NormalizedImage, NormalizeError> {
        let source = self.source;
        let size = source.size();
        let (tree, owners, cleaned) = source.cleaned(self.epoch, self.own)?;

        let sizes = tree
            .paths()
            .map(|(_, file)| tree.files()[file].content.size());
        let contents: u64 = sizes.sum();
        let threads = threads();
        let image = (container, file, path);
        let bar = self.ui.bar("writing the image", Some(contents + size));
        let monitor = Monitor {
            stop: self.stop,
            progress: &|bytes| bar.advance(bytes),
        };
        let rewritten = source.write(&tree, size, image, threads, monitor)?;
        // Reading the image back needs their memory.
        drop((bar, tree, source));
        let bar = self.ui.bar("reading the image back", Some(contents));
        let monitor = Monitor {
            stop: self.stop,
            progress: &|bytes| bar.advance(bytes),
        };
        let HashedImage {
            virtual_size,
            size,
            digest,
            content,
        } = rewritten.check(image, threads, monitor)?;
        Ok(NormalizedImage {
            file: ImageFile {
                virtual_size,
                size,
                digest,
            },
            content,
            cleaned,
            listing: rewritten.listing,
            owners,
        })
    }
}
