//! What a killed run has left at AWS, and how it is found.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::Ec2Error;
use super::resources::{RECORD, Record};
use super::teardown::remove;
use crate::ec2::client::ec2::Filter;
use crate::ec2::client::run_tags::{EXPIRES, RUN, is_over};
use crate::ec2::client::{Aws, AwsError, Region, Settings};
use crate::ui::Ui;

/// A run whose karat is gone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Leftover {
    profile: Option<String>,
    region: String,
    run: String,
}

/// The run of a run directory whose karat is gone; `None` when it has made nothing at AWS.
///
/// # Errors
/// The record cannot be read.
pub fn leftover(run: &Path) -> io::Result<Option<Leftover>> {
    let text = match fs::read(run.join(RECORD)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // One that was cut short by the crash was written before anything was made.
    let record = serde_json::from_slice::<Record>(&text).ok();
    Ok(record.map(|record| Leftover {
        profile: record.profile,
        region: record.region,
        run: record.run,
    }))
}

/// Runs of anybody in this account and region that are over, dead or alive, and have left an instance or what one needs.
///
/// # Errors
/// The principal may not ask.
pub async fn expired(region: &Region) -> Result<Vec<Leftover>, AwsError> {
    let tagged = [Filter::tagged(RUN)];
    let (instances, groups, volumes) = tokio::try_join!(
        region.instances(&tagged),
        region.security_groups(&tagged),
        region.volumes(&tagged),
    )?;
    let instances = instances.iter().filter(|it| !it.is_gone());
    let instances = instances.map(|it| [it.tag(RUN), it.tag(EXPIRES)]);
    let groups = groups.iter().map(|it| [it.tag(RUN), it.tag(EXPIRES)]);
    let volumes = volumes.iter().map(|it| [it.tag(RUN), it.tag(EXPIRES)]);
    let all = instances.chain(groups).chain(volumes);
    let runs: BTreeMap<&str, Option<&str>> = all
        .filter_map(|[run, expires]| Some((run?, expires)))
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
    /// Where it has.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Removes what the run has left; returns what that was.
    ///
    /// # Errors
    /// There are no credentials. What cannot be removed is said.
    pub async fn remove(&self, ui: &Ui) -> Result<Vec<String>, Ec2Error> {
        let settings = Settings {
            profile: self.profile.clone(),
            region: Some(self.region.clone()),
        };
        let region = Aws::connect(&settings).await?.region(&self.region);
        Ok(remove(&region, &self.run, &[], false, ui).await)
    }
}
