//! Owner of the resources that a run creates at AWS.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Ec2Error;
use super::leftover::Leftover;
use super::teardown::remove;
use crate::ec2::client::Region;
use crate::ec2::client::ec2::Tags;
use crate::ec2::client::run_tags::Run;
use crate::ui::Ui;

/// Name of the run's record in the run directory.
pub(super) const RECORD_FILE: &str = "ec2.json";
/// Time that a call which creates something gets to complete after the user cancels: dropped at once, the id of the new
/// resource would be lost. AWS answers within seconds.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(15);

/// Owner of a run's resources at AWS, all of which have its tags. [`Self::release`] removes them.
#[derive(Debug)]
pub struct ResourceGuard {
    pub region: Region,
    run: Run,
    tags: Tags,
    /// Ids of its resources: searches by tag do not find new ones at once.
    known: RefCell<Vec<String>>,
    /// Set once the id of a resource may have been lost.
    uncertain: Cell<bool>,
}

impl ResourceGuard {
    /// Begins a run, and records it in `run_directory` before anything is created.
    pub fn begin(
        region: Region,
        image: &str,
        tags: &Tags,
        profile: Option<&str>,
        run_directory: &Path,
    ) -> Result<Self, Ec2Error> {
        let run = Run::begin();
        let record = Leftover {
            run: run.id.clone(),
            region: region.name().to_owned(),
            profile: profile.map(str::to_owned),
        };
        let path = run_directory.join(RECORD_FILE);
        let text = serde_json::json!(record).to_string();
        fs::write(&path, text).map_err(|source| Ec2Error::Write { path, source })?;
        let mut all = tags.clone();
        all.extend(run.tags(image));
        Ok(Self {
            region,
            run,
            tags: all,
            known: RefCell::default(),
            uncertain: Cell::new(false),
        })
    }

    /// Returns the tags of its resources.
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Returns the id of the run.
    pub fn id(&self) -> &str {
        &self.run.id
    }

    /// Remembers the id of a new resource.
    pub(super) fn remember(&self, id: &str) {
        self.known.borrow_mut().push(id.to_owned());
    }

    /// Does `work`, which creates a resource. When the build is cancelled, the work may finish first, so that the id of the
    /// resource is known.
    pub async fn create<T>(
        &self,
        cancel: &CancellationToken,
        work: impl Future<Output = Result<T, Ec2Error>>,
    ) -> Result<T, Ec2Error> {
        if cancel.is_cancelled() {
            return Err(Ec2Error::Cancelled);
        }
        tokio::pin!(work);
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = cancel.cancelled() => timeout(CANCEL_TIMEOUT, work).await.ok(),
        };
        match done {
            Some(Err(error)) => {
                if matches!(&error, Ec2Error::Aws(error) if error.is_uncertain()) {
                    self.uncertain.set(true);
                }
                Err(error)
            }
            None => {
                self.uncertain.set(true);
                Err(Ec2Error::Cancelled)
            }
            Some(_) if cancel.is_cancelled() => Err(Ec2Error::Cancelled),
            Some(done) => done,
        }
    }

    /// Removes all resources of the run, except published AMIs. Warns of what cannot be removed.
    pub async fn release(&self, ui: &Ui) {
        let phase = ui.phase("remove resources at AWS");
        let known = self.known.borrow().clone();
        let removed = remove(&self.region, self.id(), &known, self.uncertain.get(), ui).await;
        for what in removed {
            ui.detail(&format!("removed {what}"));
        }
        let _took = phase.done();
    }
}
