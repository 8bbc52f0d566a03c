//! `karat import`

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::shared::failure::chain;
use super::shared::store_args::{StoreArgs, plain};
use super::verify::{self, VerifyError};
use crate::digest::Digest;
use crate::disk::tree::{Contents, Listing, Watch};
use crate::disk::{self, DiskError, Info};
use crate::fetch::{Cache, FetchError};
use crate::os::hash_stream::{self, Stop};
use crate::os::run_dir::RunDir;
use crate::record::manifest::{
    self, Base, BaseKind, Inputs, Manifest, ManifestId, Origin, Outputs,
};
use crate::scan::{self, inventory};
use crate::store::{Blob, Run, Store, StoreError};
use crate::time::Timestamp;
use crate::ui::Ui;

/// The unit in which files are looked at for holes; none is smaller.
const BLOCK: usize = 4096;

/// Record an image that something else has built, or copy one from another store with all that belongs to it
///
/// An image file gets a manifest that says what it is, and that nobody knows what went into it (it is not hermetic): it can be
/// scanned, signed, promoted and rolled back like any other. What comes from another store is read and compared with its manifest
/// before anything is written.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("how").required(true).args(["name", "from"])))]
pub struct ImportArgs {
    /// The image file; with --from, the id of a manifest (its first 8 digits or more will do) or a channel there
    #[arg(value_name = "FILE|ID")]
    pub subject: String,

    /// What the image is called: a to z, digits and `-`; its channels begin with it
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,

    /// What it is, for people
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "from"
    )]
    pub description: String,

    /// The processor architecture that it is for; an AMI of it needs to know
    #[arg(long, value_name = "ARCH", value_parser = ["x86_64", "aarch64"], conflicts_with = "from")]
    pub arch: Option<String>,

    /// How it boots; an AMI of it needs to know
    #[arg(long, value_name = "FIRMWARE", value_parser = ["bios", "uefi"], conflicts_with = "from")]
    pub firmware: Option<String>,

    /// Copy from the store in this directory
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

fn name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    match text {
        "" => Err("it is empty".to_owned()),
        text if text.starts_with('-') => Err("it begins with `-`".to_owned()),
        text if text.bytes().all(is_plain) => Ok(text.to_owned()),
        _ => Err("use the letters a to z, digits and `-`".to_owned()),
    }
}

/// Why an image was not imported.
#[derive(Debug, Error, Diagnostic)]
pub enum ImportError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The cache.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cache(#[from] FetchError),
    /// The image.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// The other store could not be looked at.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Verify(#[from] VerifyError),
    /// The file cannot be read.
    #[error("cannot read the image {}", path.display())]
    #[diagnostic(help(
        "name an image file; with `--from DIR`, the id of a manifest in that store"
    ))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The other store is damaged.
    #[error("{} is not as it was recorded there\n{}", id.short(), faults.join("\n"))]
    #[diagnostic(help("mend that store first; nothing was copied"))]
    Damaged {
        /// The manifest.
        id: ManifestId,
        /// What is wrong.
        faults: Vec<String>,
    },
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
}

impl ImportError {
    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Verify(error) => error.exit_code(),
            Self::Damaged { .. } => 4,
            Self::Read { .. } => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }
}

/// Imports an image; prints the id of its manifest.
///
/// # Errors
/// See [`ImportError`]. Nothing is recorded then.
pub async fn run(args: &ImportArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), ImportError> {
    let store = args.store.open()?;
    let id = match (&args.from, &args.name) {
        (Some(from), _) => copy(&Store::new(from), &args.subject, &store, ui).await?,
        (None, Some(name)) => adopt(args, name, &store, ui).await?,
        (None, None) => unreachable!("clap asks for one of both"),
    };
    writeln!(out, "{id}")
        .and_then(|()| out.flush())
        .map_err(ImportError::Output)
}

/// Records a file.
async fn adopt(
    args: &ImportArgs,
    name: &str,
    store: &Store,
    ui: &Ui,
) -> Result<ManifestId, ImportError> {
    let started = Timestamp::now();
    let path = Path::new(&args.subject);
    let read = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(read)?.is_file() {
        return Err(read(io::Error::other("it is no file")));
    }
    let info = disk::inspect(path).await?;
    let seen = seen(path, ui).await;
    let writing = store.begin().await?;
    let blob = writing.copy_image(path, ui).await?;
    if let Some(listing) = &seen.listing {
        writing.add_text(listing.packed())?;
    }
    let manifest = manifest(args, name, info, blob, seen);
    let run_of = Run {
        started,
        finished: Timestamp::now(),
        phases: [].into(),
        accelerator: "none".to_owned(),
    };
    Ok(writing.commit(&manifest, run_of)?)
}

/// What can be told of a system without its builder.
#[derive(Default)]
struct Seen {
    packages: Vec<manifest::Package>,
    listing: Option<Listing>,
}

/// Packages and files; nothing where no system can be read.
async fn seen(path: &Path, ui: &Ui) -> Seen {
    let read = async || {
        let opened = scan::open(path)
            .await
            .map_err(|error| chain(&error, ": "))?;
        hash_stream::blocking(move |stop| look(&opened, stop)).await
    };
    read().await.unwrap_or_else(|because| {
        ui.note(&format!(
            "its packages and files are not known: {}",
            plain(&because)
        ));
        Seen::default()
    })
}

fn look(opened: &scan::Opened, stop: &Stop) -> Result<Seen, String> {
    let root = opened.root();
    let inventory = inventory::read(&root).map_err(|error| chain(&error, ": "))?;
    let packages = inventory.packages.into_iter();
    let mut packages: Vec<_> = packages
        .map(|it| manifest::Package {
            name: it.name,
            version: it.version,
            arch: it.architecture,
            origin: Origin::Base,
            sha256: None,
        })
        .collect();
    packages.sort_by(|one, other| (&one.name, &one.arch).cmp(&(&other.name, &other.arch)));
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let watch = Watch {
        stop,
        progress: &|_| {},
    };
    let contents = Contents::read(root.tree(), root.files(), BLOCK, threads, watch);
    let contents = contents.map_err(|error| chain(&error, ": "))?;
    let listing = Listing::of(root.tree(), &contents).map_err(|error| chain(&error, ": "))?;
    Ok(Seen {
        packages,
        listing: Some(listing),
    })
}

/// What is said of an image that cannot be seen in it.
fn said(text: Option<&String>) -> String {
    text.map_or_else(|| "unknown".to_owned(), Clone::clone)
}

/// The image is its own base, and nothing was done to it.
fn manifest(args: &ImportArgs, name: &str, info: Info, blob: Blob, seen: Seen) -> Manifest {
    let format = match info.format.as_str() {
        "vpc" => "vhd".to_owned(),
        _ => info.format,
    };
    let inputs = Inputs {
        image: manifest::Name {
            name: name.to_owned(),
            description: plain(&args.description),
        },
        template: manifest::Template {
            digest: Digest::of(b""),
            text: String::new(),
        },
        variables: [].into(),
        secrets: [].into(),
        base: Base {
            kind: BaseKind::File,
            digest: blob.digest,
            size: blob.size,
            format: format.clone(),
            url: None,
            distribution: None,
            suite: None,
            region: None,
            ami: None,
            snapshot: None,
        },
        packages: manifest::Packages::default(),
        lock: None,
        files: Vec::new(),
        steps: Vec::new(),
        sources: [].into(),
        finish: None,
        network: manifest::Network {
            // For all that is known.
            open: true,
            allow: Vec::new(),
            requests: Vec::new(),
        },
        hermetic: false,
    };
    let outputs = Outputs {
        arch: said(args.arch.as_ref()),
        firmware: said(args.firmware.as_ref()),
        image: manifest::Image {
            format,
            digest: blob.digest,
            size: blob.size,
            virtual_size: info.virtual_size,
            disk: None,
        },
        tree: seen.listing.map(|listing| manifest::Tree {
            digest: listing.digest(),
            listing: Digest::of(listing.packed()),
        }),
        finish: Some(manifest::Finish {
            reproducible: false,
            because: Some("it was imported: nobody knows what went into it".to_owned()),
            rules: None,
            cleaned: [].into(),
        }),
        packages: seen.packages,
    };
    Manifest::new(inputs, outputs)
}

/// Copies a manifest and what belongs to it, once all of it is proved to be what was recorded.
async fn copy(
    from: &Store,
    subject: &str,
    store: &Store,
    ui: &Ui,
) -> Result<ManifestId, ImportError> {
    let id = from.resolve(subject)?;
    let checked = verify::check(from, Some(id), ui).await?;
    if !checked.faults.is_empty() {
        let faults = checked.faults.iter().map(|fault| chain(fault, ": "));
        let faults = faults.collect();
        return Err(ImportError::Damaged { id, faults });
    }
    let manifest = from.manifest(id)?.manifest;
    let writing = store.begin().await?;
    let cache = Cache::of_user()?;
    let failed = |source| ImportError::Read {
        path: cache.runs(),
        source,
    };
    let run = RunDir::create(&cache.runs()).map_err(failed)?;
    // A base that is an image there is one here.
    let (image, base) = (&manifest.outputs.image, &manifest.inputs.base);
    let is_image = |digest: &Digest| from.image(digest).is_ok_and(|it| it.path().is_none());
    let base = Some((base.digest, base.size))
        .filter(|(digest, _)| *digest != image.digest && is_image(digest));
    for image in [(image.digest, image.size)].into_iter().chain(base) {
        let copied = run.path().join("image");
        from.export_image(image, &copied, false, ui).await?;
        writing.add_image(&copied, ui).await?;
    }
    writing.take(from, &manifest, id).await?;
    run.remove().map_err(failed)?;
    for (what, _) in &checked.missing {
        ui.note(&format!(
            "{} was not there either; a rebuild needs it",
            plain(what)
        ));
    }
    Ok(id)
}
