//! Finished image file → recorded image.

use std::path::Path;
use std::time::Duration;

use super::finish::Finished;
use super::scan::AcceptedScan;
use super::{BuildError, Job, Made};
use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::os::hash_stream;
use crate::pipeline::manifest_inputs;
use crate::plan::{self, Plan};
use crate::record::directory_listing;
use crate::record::lock::Lock;
use crate::record::manifest::{self, Inputs, Manifest, ManifestId, Outputs, SourceKind};
use crate::scan::report::sbom::Subject;
use crate::store::{BuildRun, StoreError, Timestamp, Transaction};

impl Job<'_> {
    /// Stores the image, its manifest, and the inputs of a rebuild: base, lock, packages, files of the template. Moves the
    /// image file away. `took` are the durations of the phases. The scan is stored beside the manifest, since it depends on a
    /// database.
    pub(super) async fn commit_image(
        &self,
        made: &Made,
        started: Timestamp,
        took: &[(String, Duration)],
        passed: Option<&AcceptedScan>,
    ) -> Result<ManifestId, BuildError> {
        let writing = self.settings.store.begin().await?;
        writing.add_image(&made.file, self.ui).await?;
        writing.add_text(made.lock.to_toml().as_bytes())?;
        for package in &made.lock.packages {
            let file = self.settings.cache.path(&package.sha256);
            writing.add_file(&file, package.sha256).await?;
        }
        for (_, digest) in self.plan.downloads() {
            writing
                .add_file(&self.settings.cache.path(&digest), digest)
                .await?;
        }
        if let Some(base) = &made.base {
            add_base(&writing, base, self.plan).await?;
        }
        for (path, written) in &self.plan.sources {
            if let Some(source) = made.manifest.inputs.sources.get(written) {
                add_source(&writing, path, *source).await?;
            }
        }
        if let Some(listing) = &made.listing {
            writing.add_text(listing.packed())?;
        }
        if let Some(AcceptedScan {
            contents,
            report,
            explanation,
        }) = passed
        {
            if let Some(explanation) = explanation {
                writing.add_text(explanation)?;
            }
            let id = ManifestId::of(&made.manifest.to_bytes().map_err(StoreError::from)?);
            let about = Subject {
                name: self.plan.image.name.clone(),
                digest: Some(made.manifest.outputs.image.digest),
                created: made.lock.epoch.unwrap_or(started),
            };
            writing.add_scan(id, &about, contents, report)?;
        }
        let run = BuildRun {
            started,
            finished: Timestamp::now(),
            phases: took
                .iter()
                .map(|(name, took)| (name.clone(), milliseconds(*took)))
                .collect(),
            accelerator: made.accelerator.clone(),
        };
        Ok(writing.commit(&made.manifest, run)?)
    }
}

/// Stores the base. A file of the cache is hard-linked; a file of the user is copied, since the user may change it.
async fn add_base(writing: &Transaction, base: &BaseDisk, plan: &Plan) -> Result<(), BuildError> {
    match plan.base {
        // AWS keeps it, and its digest is not the digest of the bytes read from it.
        Some(plan::Base::Ami(_)) => {}
        // `add_copy` skips an image of the store.
        Some(plan::Base::File { .. } | plan::Base::Manifest(_)) => {
            writing.add_copy(&base.disk.path, base.digest).await?;
        }
        _ => writing.add_file(&base.disk.path, base.digest).await?,
    }
    Ok(())
}

/// Stores a file of the template; a directory as its listing and its files.
async fn add_source(
    writing: &Transaction,
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

/// Composes the manifest of a finished image.
pub(super) fn compose_manifest(
    inputs: Inputs,
    machine: (plan::Arch, plan::Firmware),
    plan: &Plan,
    finished: &Finished,
    packages: Vec<manifest::Package>,
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
        explanation: None,
        finish: Some(finished.record.clone()),
        packages,
    };
    let inputs = Inputs {
        lock: Some(manifest::Lock {
            digest: lock.digest(),
        }),
        ..inputs
    };
    Manifest::new(inputs, outputs)
}
