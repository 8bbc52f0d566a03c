//! Resources that a killed run has left at AWS.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::Ec2Error;
use super::resources::{RECORD_FILE, RunRecord};
use super::teardown::remove;
use crate::ec2::client::ec2::Filter;
use crate::ec2::client::run_tags::{EXPIRES, RUN, is_over};
use crate::ec2::client::{Aws, AwsError, Region, Settings};
use crate::ui::Ui;

/// Run whose karat was killed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Leftover {
    profile: Option<String>,
    region: String,
    run: String,
}

/// Reads the run that a run directory belongs to; `None` if it has created nothing at AWS.
pub fn read_leftover(run: &Path) -> io::Result<Option<Leftover>> {
    let text = match fs::read(run.join(RECORD_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // A record that the crash truncated was written before anything was created.
    let record = serde_json::from_slice::<RunRecord>(&text).ok();
    Ok(record.map(|record| Leftover {
        profile: record.profile,
        region: record.region,
        run: record.run,
    }))
}

/// Finds runs of any machine that are over, and have left instances, security groups or volumes in this account and region.
pub async fn find_expired(region: &Region) -> Result<Vec<Leftover>, AwsError> {
    let tagged = [Filter::tagged(RUN)];
    let (instances, groups, volumes) = tokio::try_join!(
        region.instances().list(&tagged),
        region.security_groups().list(&tagged),
        region.volumes().list(&tagged),
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
