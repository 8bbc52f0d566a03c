//! From a finished image file to a recorded one.

use std::path::Path;
use std::time::Duration;

use super::finish::Finished;
use super::scan::Passed;
use super::{BuildError, Made, Settings};
use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::os::hash_stream;
use crate::pipeline::manifest_inputs;
use crate::plan::{self, Plan};
use crate::provision::{Origin, Package};
use crate::record::directory_listing;
use crate::record::lock::Lock;
use crate::record::manifest::{self, Inputs, Manifest, ManifestId, Outputs, SourceKind};
use crate::scan::report::sbom::Subject;
use crate::store::{Run, StoreError, Timestamp, Writing};
use crate::ui::Ui;

/// What is known about this run alone.
pub(super) struct ThisRun<'a> {
    pub(super) started: Timestamp,
    pub(super) phases: &'a [(String, Duration)],
    /// What its scan found; beside the manifest, since it depends on a database.
    pub(super) passed: Option<&'a Passed>,
}

/// Stores the image, its manifest, and what a rebuild needs: base, lock, packages, files of the template. The image
/// file is moved away.
pub(super) async fn image(
    made: &Made,
    plan: &Plan,
    run: ThisRun<'_>,
    settings: &Settings<'_>,
    ui: &Ui,
) -> Result<ManifestId, BuildError> {
    let writing = settings.store.begin().await?;
    writing.add_image(&made.file, ui).await?;
    writing.add_text(made.lock.to_toml().as_bytes())?;
    for package in &made.lock.packages {
        let file = settings.cache.path(&package.sha256);
        writing.add_file(&file, package.sha256).await?;
    }
    for (_, digest) in plan.downloads() {
        writing
            .add_file(&settings.cache.path(&digest), digest)
            .await?;
    }
    if let Some(base) = &made.base {
        add_base(&writing, base, plan).await?;
    }
    for (path, written) in &plan.sources {
        if let Some(source) = made.manifest.inputs.sources.get(written) {
            add_source(&writing, path, *source).await?;
        }
    }
    if let Some(listing) = &made.listing {
        writing.add_text(listing.packed())?;
    }
    if let Some(Passed { contents, report }) = run.passed {
        let id = ManifestId::of(&made.manifest.to_bytes().map_err(StoreError::from)?);
        let about = Subject {
            name: plan.image.name.clone(),
            digest: Some(made.manifest.outputs.image.digest),
            created: made.lock.epoch.unwrap_or(run.started),
        };
        writing.add_scan(id, &about, contents, report)?;
    }
    let phases = run
        .phases
        .iter()
        .map(|(name, took)| (name.clone(), milliseconds(*took)));
    let run = Run {
        started: run.started,
        finished: Timestamp::now(),
        phases: phases.collect(),
        accelerator: made.accelerator.clone(),
    };
    Ok(writing.commit(&made.manifest, run)?)
}

/// A base in the cache gets a second name; one that is somebody's own file is copied, since its owner may change it.
async fn add_base(writing: &Writing, base: &BaseDisk, plan: &Plan) -> Result<(), BuildError> {
    match plan.base {
        // AWS keeps it, and its digest is not that of the bytes which were read of it.
        Some(plan::Base::Ami(_)) => {}
        // An image that is in the store already is not stored once more.
        Some(plan::Base::File { .. } | plan::Base::Manifest(_)) => {
            writing.add_copy(&base.disk.path, base.digest).await?;
        }
        _ => writing.add_file(&base.disk.path, base.digest).await?,
    }
    Ok(())
}

/// A directory is stored as its listing, and each of its files by itself.
async fn add_source(
    writing: &Writing,
    path: &Path,
    source: manifest::Source,
) -> Result<(), BuildError> {
    if source.kind != SourceKind::Directory {
        return Ok(writing.add_copy(path, source.digest).await?);
    }
    let root = path.to_owned();
    let listing = hash_stream::blocking(move |stop| manifest_inputs::listing(&root, stop)).await?;
    writing.add_text(&listing)?;
    for file in directory_listing::listed(&listing).flatten() {
        if let Some(digest) = file.digest {
            writing.add_copy(&path.join(file.path), digest).await?;
        }
    }
    Ok(())
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The manifest of what was made.
pub(super) fn manifest(
    inputs: Inputs,
    machine: (plan::Arch, plan::Firmware),
    plan: &Plan,
    finished: &Finished,
    packages: Vec<Package>,
    lock: &Lock,
) -> Manifest {
    let (arch, firmware) = machine;
    let tree = finished.listing.as_ref().map(|listing| manifest::Tree {
        digest: listing.digest(),
        listing: Digest::of(listing.packed()),
    });
    let outputs = Outputs {
        arch: arch.name().to_owned(),
        firmware: firmware.name().to_owned(),
        image: manifest::Image {
            format: plan.output.format.name().to_owned(),
            digest: finished.file.digest,
            size: finished.file.size,
            virtual_size: finished.file.virtual_size,
            disk: finished.content,
        },
        tree,
        finish: Some(finished.record.clone()),
        packages: packages.into_iter().map(|it| package(it, lock)).collect(),
    };
    let inputs = Inputs {
        lock: Some(manifest::Lock {
            digest: lock.digest(),
        }),
        ..inputs
    };
    Manifest::new(inputs, outputs)
}

fn package(package: Package, lock: &Lock) -> manifest::Package {
    let locked = lock.packages.iter().find(|locked| {
        (&locked.name, &locked.version, &locked.architecture)
            == (&package.name, &package.version, &package.arch)
    });
    let origin = match package.origin {
        Origin::Base => manifest::Origin::Base,
        Origin::Declared => manifest::Origin::Declared,
        Origin::Dependency => manifest::Origin::Dependency,
    };
    let Package {
        name,
        version,
        arch,
        ..
    } = package;
    manifest::Package {
        name,
        version,
        arch,
        origin,
        sha256: locked.map(|locked| locked.sha256),
    }
}
