//! From a finished image file to a recorded one.

use std::path::Path;
use std::time::Duration;

use super::{BuildError, Settings};
use crate::disk::Finished;
use crate::lock::Lock;
use crate::manifest::{self, Inputs, Manifest, ManifestId, Outputs};
use crate::plan::{self, Plan};
use crate::provision::{Origin, Package};
use crate::store::{Run, Timestamp};
use crate::ui::Ui;

/// What is known about this run alone.
pub(super) struct ThisRun<'a> {
    pub(super) started: Timestamp,
    pub(super) accelerator: String,
    pub(super) phases: &'a [(String, Duration)],
}

/// Stores the image, its manifest, and what a rebuild needs: the lock and its packages. The file is moved away.
pub(super) async fn image(
    manifest: &Manifest,
    file: &Path,
    lock: &Lock,
    run: ThisRun<'_>,
    settings: &Settings<'_>,
    ui: &Ui,
) -> Result<ManifestId, BuildError> {
    let writing = settings.store.begin().await?;
    writing.add_image(file, ui).await?;
    writing.add_text(lock.to_toml().as_bytes())?;
    for package in &lock.packages {
        let file = settings.cache.path(&package.sha256);
        writing.add_file(&file, package.sha256).await?;
    }
    let phases = run
        .phases
        .iter()
        .map(|(name, took)| (name.clone(), milliseconds(*took)));
    let run = Run {
        started: run.started,
        finished: Timestamp::now(),
        phases: phases.collect(),
        accelerator: run.accelerator,
    };
    Ok(writing.commit(manifest, run)?)
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The manifest of what was made.
pub(super) fn manifest(
    inputs: Inputs,
    qemu: &plan::Qemu,
    plan: &Plan,
    finished: &Finished,
    packages: Vec<Package>,
    lock: &Lock,
) -> Manifest {
    let outputs = Outputs {
        arch: qemu.arch.name().to_owned(),
        firmware: qemu.firmware.name().to_owned(),
        image: manifest::Image {
            format: plan.output.format.name().to_owned(),
            digest: finished.digest,
            size: finished.size,
            virtual_size: finished.virtual_size,
        },
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
