//! From the disk of a guest that was shut down to an image that is the same for the same inputs.
//!
//! ```text
//! overlay + base -> partitions -> ext4 -> tree -> clean -> ext4, written anew -> image -> read back
//! ```

pub mod source;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::clean::{self, CleanError, Cleaned, Own, Owners};
use super::convert::{Finished, place, repack, scratch};
use super::normalize::source::{Container, Source};
use super::read::ext4::Superblock;
use super::read::qcow2::{Layer, open_chain};
use super::read::{ReadError, Slice, partitions};
use super::tree::{Listing, Watch};
use super::write::{WriteError, Written, find_root};
use super::{Base, DiskError, container_ids};
use crate::digest::Digest;
use crate::os::hash_stream::{self, Stop};
use crate::plan;
use crate::ui::Ui;

/// What is to be made of which disk.
#[derive(Clone, Debug)]
pub struct Anew {
    /// The guest's disk: a qcow2 overlay.
    pub overlay: PathBuf,
    /// What it is an overlay of.
    pub base: Base,
    /// Format of the image.
    pub format: plan::Format,
    /// No file is younger: seconds since 1970.
    pub epoch: i64,
    /// What the template's author knows.
    pub own: Own,
}

/// An image that was written anew.
#[derive(Debug)]
pub struct Renewed {
    /// The image file.
    pub finished: Finished,
    /// Digest of the disk's content, whatever container it is in: SHA-256 over the SHA-256 of every MiB, in order.
    pub content: Digest,
    /// What the rules did.
    pub cleaned: Cleaned,
    /// One canonical JSON line a path.
    pub listing: Listing,
    /// Which package has which path.
    pub owners: Owners,
}

/// Why a disk was not written anew.
#[derive(Debug, Error, Diagnostic)]
pub enum AnewError {
    /// It cannot be cleaned.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Clean(#[from] CleanError),
    /// It cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] WriteError),
    /// The image file cannot be made.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
}

impl AnewError {
    /// Why such a disk can only be kept as it is, if that is so: it is of a kind that karat does not write.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Write(WriteError::Unknown { what }) => Some(what),
            _ => None,
        }
    }
}

/// When the file system of a base was made, in seconds since 1970: the same for the same base. `None` where there is none
/// that karat can read.
#[must_use]
pub fn made(base: &Base) -> Option<u64> {
    let disk = open_chain(&[layer(base).ok()?]).ok()?;
    let root = find_root(&disk, &partitions::read(&disk).ok()?).ok()?;
    let superblock = Superblock::read(&Slice::new(&*disk, root.offset, root.length).ok()?).ok()?;
    Some(superblock.made)
}

/// Writes a disk anew as the new file `to`.
///
/// # Errors
/// See [`AnewError`]. Nothing is left at `to` then.
pub async fn renew(job: Anew, to: &Path, ui: &Ui) -> Result<Renewed, AnewError> {
    let (target, on_screen, format) = (to.to_owned(), ui.clone(), job.format);
    let (renewed, file) = hash_stream::blocking(move |stop| {
        let file = scratch(&target).map_err(broken(&target))?;
        let source = open(&job)?;
        let clamp = (job.epoch, &job.own);
        let renewed = write(source, clamp, format, &file, stop, &on_screen)?;
        Ok::<_, AnewError>((renewed, file))
    })
    .await?;
    match format {
        plan::Format::Qcow2 | plan::Format::Raw => {
            place(file, to)?;
            Ok(renewed)
        }
        plan::Format::Vmdk | plan::Format::Vhd => packed(renewed, &file, format, to, ui).await,
    }
}

/// Writes a raw disk anew as the qcow2 `to`, which is overwritten: its own time of making is the epoch.
///
/// # Errors
/// See [`AnewError`]. What is at `to` then is of no use.
pub async fn renew_raw(raw: &Path, to: &Path, ui: &Ui) -> Result<Renewed, AnewError> {
    let base = Base {
        path: raw.to_owned(),
        format: "raw".to_owned(),
    };
    let (to, ui) = (to.to_owned(), ui.clone());
    hash_stream::blocking(move |stop| {
        let epoch = made(&base).and_then(|made| i64::try_from(made).ok());
        let source = Source::open(open_chain(&[layer(&base)?])?)?;
        let epoch = epoch.unwrap_or_default();
        File::create(&to).map_err(broken(&to))?;
        write(
            source,
            (epoch, &Own::default()),
            plan::Format::Qcow2,
            &to,
            stop,
            &ui,
        )
    })
    .await
}

/// Puts a raw disk into a container that only qemu-img writes.
async fn packed(
    renewed: Renewed,
    raw: &Path,
    format: plan::Format,
    to: &Path,
    ui: &Ui,
) -> Result<Renewed, AnewError> {
    let file = scratch(to).map_err(broken(to))?;
    let size = renewed.finished.virtual_size;
    repack(
        raw,
        format,
        &file,
        to,
        &ui.bar("packing the image", Some(size)),
        size,
    )
    .await?;
    let (target, content) = (to.to_owned(), renewed.content);
    let ((digest, size), file) = hash_stream::blocking(move |stop| {
        let hash = || {
            let opened = File::options().read(true).write(true).open(&file)?;
            container_ids::settle(&opened, format, content)?;
            opened.sync_all()?;
            hash_stream::digest(File::open(&file)?, stop, |_| {})
        };
        let hashed = hash().map_err(broken(&target))?;
        Ok::<_, AnewError>((hashed, file))
    })
    .await?;
    place(file, to)?;
    let finished = Finished {
        size,
        digest,
        ..renewed.finished
    };
    Ok(Renewed {
        finished,
        ..renewed
    })
}

fn broken(path: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::Write { path, source }
}

fn open(job: &Anew) -> Result<Source, AnewError> {
    let below = layer(&job.base)?;
    let disk = open_chain(&[Layer::Qcow2(job.overlay.clone()), below.clone()])?;
    Ok(Source::open_over(disk, &open_chain(&[below])?)?)
}

/// Writes the source's cleaned tree into the empty file `to`.
fn write(
    source: Source,
    (epoch, own): (i64, &Own),
    format: plan::Format,
    to: &Path,
    stop: &Stop,
    ui: &Ui,
) -> Result<Renewed, AnewError> {
    let size = source.size();
    let mut tree = source.tree()?;
    let owners = Owners::read(&tree, source.files())?;
    let cleaned = clean::clean(&mut tree, source.files(), &owners, epoch, own)?;

    let sizes = tree
        .paths()
        .map(|(_, file)| tree.files()[file].content.size());
    let contents: u64 = sizes.sum();
    let bar = ui.bar("writing the image", Some(contents + size));
    let watch = Watch {
        stop,
        progress: &|bytes| bar.advance(bytes),
    };
    let file = File::options().read(true).write(true).open(to);
    let file = file.map_err(broken(to))?;
    // Other containers are made of the raw disk.
    let container = match format {
        plan::Format::Qcow2 => Container::Qcow2,
        _ => Container::Raw,
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let rewritten = source.write(&tree, size, (container, &file, to), threads, watch)?;
    // Their memory is wanted for what reads the image back.
    drop((bar, tree, source));
    let bar = ui.bar("reading the image back", Some(contents));
    let watch = Watch {
        stop,
        progress: &|bytes| bar.advance(bytes),
    };
    let Written {
        virtual_size,
        size,
        digest,
        content,
    } = rewritten.check((container, &file, to), threads, watch)?;
    Ok(Renewed {
        finished: Finished {
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

fn layer(base: &Base) -> Result<Layer, WriteError> {
    match base.format.as_str() {
        "qcow2" => Ok(Layer::Qcow2(base.path.clone())),
        "raw" => Ok(Layer::Raw(base.path.clone())),
        other => Err(WriteError::Unknown {
            what: format!("the format {other}"),
        }),
    }
}
