//! What a run has at AWS, from the moment before the first of it is made until nothing is left.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Ec2Error;
use super::teardown::remove;
use crate::ec2::client::Region;
use crate::ec2::client::ec2::Tags;
use crate::ec2::client::run_tags::Run;
use crate::ui::Ui;

/// Its name inside the run directory.
pub(super) const RECORD: &str = "ec2.json";
/// A call that makes something is not dropped when the user ends the build: what it makes would be known to nobody. AWS answers
/// within seconds; beyond this its answer is taken for lost.
const ANSWER: Duration = Duration::from_secs(15);

/// Which run has made something, and where: enough for another karat to find it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) run: String,
    pub(super) region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
}

/// A run's hold on AWS. Whatever it makes has its tags.
#[derive(Debug)]
pub struct Rental {
    /// Where.
    pub region: Region,
    run: Run,
    tags: Tags,
    /// Ids of what it has made: tags of new things are not known everywhere at once.
    known: RefCell<Vec<String>>,
    /// Something may have been made that nobody was told of.
    uncertain: Cell<bool>,
}

impl Rental {
    /// Begins a run. That it exists is written into `run_directory` before anything is made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(
        region: Region,
        image: &str,
        tags: &Tags,
        profile: Option<&str>,
        run_directory: &Path,
    ) -> Result<Self, Ec2Error> {
        let run = Run::begin();
        let record = Record {
            run: run.id.clone(),
            region: region.name().to_owned(),
            profile: profile.map(str::to_owned),
        };
        let path = run_directory.join(RECORD);
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

    /// What everything that it makes is tagged with.
    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.run.id
    }

    /// Remembers what was made.
    pub(super) fn know(&self, id: &str) {
        self.known.borrow_mut().push(id.to_owned());
    }

    /// Makes something: `work` is not dropped when the build is cancelled, but waited for, so that what it made is known.
    ///
    /// # Errors
    /// Those of `work`, or cancelled.
    pub async fn make<T>(
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
            () = cancel.cancelled() => timeout(ANSWER, work).await.ok(),
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

    /// Removes everything that the run has made and that is not offered to others. What cannot be removed is said.
    pub async fn release(&self, ui: &Ui) {
        let phase = ui.phase("remove what was made at AWS");
        let known = self.known.borrow().clone();
        let removed = remove(&self.region, self.id(), &known, self.uncertain.get(), ui).await;
        for what in removed {
            ui.detail(&format!("removed {what}"));
        }
        let _took = phase.done();
    }
}
