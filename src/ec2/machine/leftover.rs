//! Resources that a killed run has left at AWS.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Ec2Error;
use super::resources::RECORD_FILE;
use super::teardown::remove;
use crate::ec2::client::ec2::{Filter, instances, security_groups, volumes};
use crate::ec2::client::run_tags::{EXPIRES, RUN, is_over};
use crate::ec2::client::{Aws, AwsError, Region, Settings};
use crate::ui::Ui;

/// Run and region in which resources were created: enough for another karat to find them when this one is killed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leftover {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    pub(super) region: String,
    pub(super) run: String,
}

/// Reads the run that a run directory belongs to; `None` if it has created nothing at AWS.
pub fn read_leftover(run: &Path) -> io::Result<Option<Leftover>> {
    let text = match fs::read(run.join(RECORD_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // A record that the crash truncated was written before anything was created.
    Ok(serde_json::from_slice(&text).ok())
}

/// Finds runs of any machine that are over, and have left instances, security groups or volumes in this account and region.
pub async fn find_expired(region: &Region) -> Result<Vec<Leftover>, AwsError> {
    let tagged = [Filter::tagged(RUN)];
    let (instances, groups, volumes) = tokio::try_join!(
        instances::list(region, &tagged),
        security_groups::list(region, &tagged),
        volumes::list(region, &tagged),
    )?;
    let instances = instances.iter().filter(|instance| !instance.is_gone());
    let tags = instances
        .map(|instance| &instance.tags)
        .chain(groups.iter().map(|group| &group.tags))
        .chain(volumes.iter().map(|volume| &volume.tags));
    let runs: BTreeMap<&str, Option<&str>> = tags
        .filter_map(|tags| Some((tags.get(RUN)?, tags.get(EXPIRES))))
        .collect();
    let over = runs.into_iter().filter(|(_, expires)| is_over(*expires));
    let over = over.map(|(run, _)| Leftover {
        profile: None,
        region: region.name().to_owned(),
        run: run.to_owned(),
    });
    Ok(over.collect())
}

impl Leftover {
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Removes what the run has left and returns the ids. Warns of what cannot be removed.
    pub async fn remove(&self, ui: &Ui) -> Result<Vec<String>, Ec2Error> {
        let settings = Settings {
            profile: self.profile.clone(),
            region: Some(self.region.clone()),
        };
        let region = Aws::connect(&settings).await?.region(&self.region);
        Ok(remove(&region, &self.run, &[], false, ui).await)
    }
}
