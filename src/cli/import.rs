//! `karat import`

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::shared::image_line::ImageLine;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExitStatus, verify};
use crate::digest::Digest;
use crate::disk::tree::{Contents, Listing, Monitor};
use crate::disk::{self, DiskError, ImageInfo};
use crate::fetch::Cache;
use crate::os::hash_stream::{self, Stop};
use crate::os::run_dir::RunDir;
use crate::plan::is_plain_name;
use crate::record::manifest::{
    self, Base, BaseKind, Inputs, Manifest, ManifestId, Origin, Outputs,
};
use crate::scan::{self, inventory};
use crate::store::{Blob, BuildRun, Store};
use crate::time::Timestamp;
use crate::ui::Ui;
use crate::ui::report::Report;
use crate::ui::text::{terminal_safe, with_causes};

/// Granularity of the search for holes in files: the smallest block size of a file system.
const BLOCK_BYTES: usize = 4096;

/// Record an image that was built elsewhere, or copy one from another store
///
/// An image file gets a manifest that describes it and marks its contents as unknown (not hermetic). It can be scanned,
/// signed, promoted and rolled back like any other image. --from copies an image with all its records, after comparing every
/// byte with its manifest.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("how").required(true).args(["name", "from"])))]
pub(crate) struct ImportArgs {
    /// Image file; with --from, an image in that store (4 or more digits of its id, NAME, NAME@latest, or a channel)
    #[arg(value_name = "FILE|ID")]
    subject: String,

    /// Name of the image (a-z, 0-9 and -); its channels begin with it
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,

    /// Description of the image
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "from"
    )]
    description: String,

    /// Processor architecture of the image; needed to publish it as an AMI
    #[arg(long, value_name = "ARCH", value_parser = ["x86_64", "aarch64"], conflicts_with = "from")]
    arch: Option<String>,

    /// Firmware that the image boots with; needed to publish it as an AMI
    #[arg(long, value_name = "FIRMWARE", value_parser = ["bios", "uefi"], conflicts_with = "from")]
    firmware: Option<String>,

    /// Copy from the store in this directory
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("must not be empty".to_owned()),
        text if text.starts_with('-') => Err("must not begin with `-`".to_owned()),
        text if is_plain_name(text) => Ok(text.to_owned()),
        _ => Err("use the letters a to z, digits and `-`".to_owned()),
    }
}

#[derive(Debug, Error, Diagnostic)]
enum ImportError {
    #[error("cannot read the image {}", path.display())]
    #[diagnostic(help("name an image file; with `--from DIR`, the id of an image in that store"))]
    Read { path: PathBuf, source: io::Error },
    #[error("verification of {} failed in its store:\n{}", id.short(), faults.join("\n"))]
    #[diagnostic(help("repair that store first; nothing was copied"))]
    Damaged { id: ManifestId, faults: Vec<String> },
}

impl ExitStatus for ImportError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Damaged { .. } => 4,
            Self::Read { .. } => 2,
        }
    }
}

/// Imports an image and prints the id of its manifest. An error leaves nothing recorded.
pub(crate) async fn run(args: &ImportArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = match (&args.from, &args.name) {
        (Some(from), _) => {
            let from = Store::new(from);
            from.require_store()?;
            copy(&from, &args.subject, &store, ui).await?
        }
        (None, Some(name)) => record_file(args, name, &store, ui).await?,
        (None, None) => unreachable!("clap requires one of both"),
    };
    let manifest = store.manifest(id)?.manifest;
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &ImageLine::new(id, &manifest), || format!("{id}\n"))
}

/// Records an image file.
async fn record_file(
    args: &ImportArgs,
    name: &str,
    store: &Store,
    ui: &Ui,
) -> Result<ManifestId, CommandError> {
    let started = Timestamp::now();
    let path = Path::new(&args.subject);
    let read = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    if !path.metadata().map_err(read)?.is_file() {
        return Err(read(io::Error::other("not a regular file")).into());
    }
    let info = disk::inspect(path).await?;
    check_disk(path, &info.format, ui)?;
    let system = inspect_system(path, ui).await;
    let writing = store.begin().await?;
    let blob = writing.copy_image(path, ui).await?;
    if let Some(listing) = &system.listing {
        writing.add_text(listing.packed())?;
    }
    let manifest = manifest(args, name, info, blob, system);
    let run = BuildRun {
        started,
        finished: Timestamp::now(),
        phases: [].into(),
        accelerator: "none".to_owned(),
    };
    Ok(writing.commit(&manifest, run)?)
}

/// Refuses a file that is not a disk. Other systems than karat knows may be recorded and published, with a warning.
fn check_disk(path: &Path, format: &str, ui: &Ui) -> Result<(), DiskError> {
    let image = disk::BaseImage {
        path: path.to_owned(),
        format: format.to_owned(),
    };
    disk::require_image(&image)?;
    if let Err(doubt) = disk::require_system(&image) {
        let help = doubt.help().map(|help| help.to_string());
        let what = format!("{doubt}; it is recorded as it is");
        ui.warn_of(&Report::new(what, help.unwrap_or_default()));
    }
    Ok(())
}

/// Packages and files that were found in an image.
#[derive(Default)]
struct System {
    packages: Vec<manifest::Package>,
    listing: Option<Listing>,
}

/// Reads packages and files of an image; empty if it holds no readable system.
async fn inspect_system(path: &Path, ui: &Ui) -> System {
    let read = async || {
        let opened = scan::open(path).await;
        let opened = opened.map_err(|error| with_causes(&error))?;
        hash_stream::blocking(move |stop| read_system(&opened, stop)).await
    };
    read().await.unwrap_or_else(|because| {
        ui.note(&format!(
            "cannot list its packages and files: {}",
            terminal_safe(&because)
        ));
        System::default()
    })
}

fn read_system(opened: &scan::Opened, stop: &Stop) -> Result<System, String> {
    let root = opened.root();
    let inventory = inventory::read(&root).map_err(|error| with_causes(&error))?;
    let packages = inventory.packages.into_iter();
    let mut packages: Vec<_> = packages
        .map(|package| manifest::Package {
            name: package.name,
            version: package.version,
            arch: package.architecture,
            origin: Origin::Base,
            sha256: None,
        })
        .collect();
    packages.sort_by(|one, other| (&one.name, &one.arch).cmp(&(&other.name, &other.arch)));
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let watch = Monitor {
        stop,
        progress: &|_| {},
    };
    let contents = Contents::read(root.tree(), root.files(), BLOCK_BYTES, threads, watch)
        .map_err(|error| with_causes(&error))?;
    let listing = Listing::of(root.tree(), &contents).map_err(|error| with_causes(&error))?;
    Ok(System {
        packages,
        listing: Some(listing),
    })
}

/// Describes the image as its own base, without packages, files and steps added.
fn manifest(
    args: &ImportArgs,
    name: &str,
    info: ImageInfo,
    blob: Blob,
    system: System,
) -> Manifest {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let format = match info.format.as_str() {
        "vpc" => "vhd".to_owned(),
        _ => info.format,
    };
    let inputs = Inputs {
        image: manifest::Name {
            name: name.to_owned(),
            description: terminal_safe(&args.description),
        },
        template: manifest::Template {
            digest: Digest::of(b""),
            text: String::new(),
        },
        variables: [].into(),
        secrets: [].into(),
        base: Base {
            digest: blob.digest,
            size: blob.size,
            format: format.clone(),
            ..Base::empty(BaseKind::File)
        },
        packages: manifest::Packages::default(),
        lock: None,
        files: Vec::new(),
        steps: Vec::new(),
        sources: [].into(),
        finish: None,
        network: manifest::Network {
            // Unknown, so the manifest must not claim that it was sealed.
            open: true,
            allow: Vec::new(),
            requests: Vec::new(),
        },
        hermetic: false,
    };
    let outputs = Outputs {
        arch: known(&args.arch),
        firmware: known(&args.firmware),
        image: manifest::Image {
            format,
            digest: blob.digest,
            size: blob.size,
            virtual_size: info.virtual_size,
            disk: None,
        },
        tree: system.listing.map(|listing| manifest::Tree {
            digest: listing.digest(),
            listing: Digest::of(listing.packed()),
        }),
        explanation: None,
        finish: Some(manifest::Finish {
            reproducible: false,
            because: Some("it was imported: nobody knows what went into it".to_owned()),
            rules: None,
            cleaned: [].into(),
        }),
        packages: system.packages,
    };
    Manifest::new(inputs, outputs)
}

/// Copies a manifest and everything that belongs to it, after verifying every byte.
async fn copy(
    from: &Store,
    subject: &str,
    store: &Store,
    ui: &Ui,
) -> Result<ManifestId, CommandError> {
    let id = from.resolve(subject)?;
    let checked = verify::check(from, Some(id), ui).await?;
    if !checked.faults.is_empty() {
        let faults = checked.faults.iter().map(|fault| with_causes(fault));
        let faults = faults.collect();
        return Err(ImportError::Damaged { id, faults }.into());
    }
    let manifest = from.manifest(id)?.manifest;
    let writing = store.begin().await?;
    let cache = Cache::of_user()?;
    let failed = |source| ImportError::Read {
        path: cache.runs(),
        source,
    };
    let run = RunDir::create(&cache.runs()).map_err(failed)?;
    // A base that is an image in the other store becomes an image in this one.
    let (image, base) = (&manifest.outputs.image, &manifest.inputs.base);
    let is_image = |digest: &Digest| from.image(digest).is_ok_and(|image| image.path().is_none());
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
            "{} was missing in that store, too; a rebuild needs it",
            terminal_safe(what)
        ));
    }
    Ok(id)
}
