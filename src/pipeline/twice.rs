//! The same build once more.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::compare::{Compared, Level, compare};
use super::phases::Phases;
use super::{BuildError, Job, Settings, Update};
use crate::base::BaseDisk;
use crate::disk::clean::Owners;
use crate::disk::tree::Listing;
use crate::os::run_dir::RunDir;
use crate::plan::{self, Builder, Plan};
use crate::record::lock::{Lock, LockError};
use crate::record::manifest::Manifest;
use crate::secret::Secrets;
use crate::ui::Ui;

/// An image that was made, and not recorded.
#[derive(Debug)]
pub struct Made {
    /// Its manifest.
    pub manifest: Manifest,
    pub(super) file: PathBuf,
    /// `None` where its bytes cannot be had.
    pub(super) base: Option<BaseDisk>,
    pub(super) lock: Lock,
    pub(super) accelerator: String,
    pub(super) listing: Option<Listing>,
    pub(super) owners: Owners,
}

impl Made {
    /// What of it is compared with another build.
    #[must_use]
    pub fn compared(&self) -> Compared<'_> {
        Compared {
            manifest: &self.manifest,
            listing: self.listing.as_ref(),
        }
    }

    /// The package that has a path of the image.
    #[must_use]
    pub fn owner(&self, path: &str) -> Option<String> {
        self.owners.of(path.as_bytes()).map(str::to_owned)
    }
}

/// Makes an image, compares nothing, tests nothing and records nothing: its file is gone when this returns.
///
/// # Errors
/// See [`BuildError`].
pub async fn again(
    plan: &Plan,
    secrets: &Secrets,
    settings: &Settings<'_>,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Made, BuildError> {
    let guest = match &plan.builder {
        Builder::Qemu(guest) => guest,
        Builder::Host(_) => return Err(LockError::NoLock.into()),
        Builder::Ec2(_) => return Err(BuildError::OnceOnly),
    };
    let job = Job {
        plan,
        secrets,
        settings,
        ui,
        cancel,
    };
    let run = RunDir::create(&settings.cache.runs()).map_err(BuildError::RunDirectory)?;
    let mut phases = Phases::new(ui, cancel);
    let made = job.make(guest, Update::Keep, &run, &mut phases).await?;
    run.remove().map_err(BuildError::RunDirectory)?;
    Ok(made)
}

impl Job<'_> {
    /// Does the same once more, from the lock, and compares.
    pub(super) async fn make_again(
        &self,
        guest: &plan::Qemu,
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
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let again = async {
            let mut inner = Phases::new(self.ui, self.cancel);
            let second = job.make(guest, Update::Keep, &run, &mut inner).await?;
            Ok(compare(first.compared(), second.compared(), |path| {
                second.owner(path)
            }))
        };
        let comparison = phases.run("build again", Box::pin(again)).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
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
