//! A second build from the same inputs, for `--twice` and `karat rebuild`.

use std::path::PathBuf;

use super::compare::{Compared, Level, compare};
use super::phases::Phases;
use super::scan::AcceptedScan;
use super::{BuildError, Job, Settings, Update};
use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::disk::NormalizeRequest;
use crate::disk::clean::Owners;
use crate::disk::tree::Listing;
use crate::os::run_dir::RunDir;
use crate::plan::Builder;
use crate::record::lock::{Lock, LockError};
use crate::record::manifest::Manifest;
use crate::scan::undeclared::StepTime;

/// A finished image that is not recorded.
#[derive(Debug)]
pub(crate) struct Made {
    pub manifest: Manifest,
    pub(super) file: PathBuf,
    /// `None` if its bytes cannot be read.
    pub(super) base: Option<BaseDisk>,
    /// Disk of the guest, in the run directory.
    pub(super) disk: Option<NormalizeRequest>,
    /// Times of the steps, if they were taken.
    pub(super) times: Vec<StepTime>,
    pub(super) lock: Lock,
    pub(super) accelerator: String,
    pub(super) listing: Option<Listing>,
    pub(super) owners: Owners,
}

impl Made {
    /// Returns the parts to compare with another build.
    pub(crate) fn compared(&self) -> Compared<'_> {
        Compared {
            manifest: &self.manifest,
            listing: self.listing.as_ref(),
        }
    }

    /// Names the explanation of the scan in the manifest.
    pub(super) fn explain(&mut self, passed: Option<&AcceptedScan>) {
        let explanation = passed.and_then(|passed| passed.explanation.as_deref());
        self.manifest.outputs.explanation = explanation.map(Digest::of);
    }

    /// Returns the package that owns a path of the image.
    pub(crate) fn owner(&self, path: &str) -> Option<String> {
        self.owners.package_of(path.as_bytes()).map(str::to_owned)
    }
}

impl Job<'_> {
    /// Builds an image only to compare it: without tests and scan, without recording it. The image file is removed.
    pub(crate) async fn again(&self) -> Result<Made, BuildError> {
        let guest = match &self.plan.builder {
            Builder::Qemu(guest) => guest,
            Builder::Host(_) => return Err(LockError::NoLock.into()),
            Builder::Ec2(_) => return Err(BuildError::NotReproducible),
        };
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let mut phases = Phases::new(self.ui, self.cancel);
        let made = self
            .make_image(guest, Update::Keep, &run, &mut phases)
            .await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok(made)
    }

    /// Builds again from the lock, and compares.
    pub(super) async fn compare_second_build(
        &self,
        first: &Made,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let settings = Settings {
            locked: true,
            base: first.base.as_ref(),
            ..*self.settings
        };
        let job = Job {
            settings: &settings,
            ..*self
        };
        let again = async {
            let second = job.again().await?;
            Ok(compare(first.compared(), second.compared(), |path| {
                second.owner(path)
            }))
        };
        let comparison = phases.run("build again", Box::pin(again)).await?;
        let claimed = Level::claimed(&first.manifest);
        self.ui.note(&format!("twice: {}", comparison.level));
        if comparison.level < claimed {
            return Err(BuildError::Differs {
                claimed,
                comparison,
            });
        }
        Ok(())
    }
}
