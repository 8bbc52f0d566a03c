//! Targets of a channel at AWS: a parameter and the default version of a launch template in each region.

mod journal;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::ec2::client::ec2::launch_templates;
use crate::ec2::client::{Aws, AwsError, Region, parameters, token};
use crate::store::Ec2Targets;
use crate::ui::Ui;

pub use journal::Journal;

/// Change of a target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub region: String,
    /// AMI that the target is to name.
    pub image: String,
    /// Target, with its state before the change.
    #[serde(rename = "what")]
    pub target: Target,
}

/// Target of a change, with its state before the change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    Parameter {
        name: String,
        /// Its value; `None` if it did not exist.
        before: Option<String>,
    },
    /// Default version of a launch template.
    LaunchTemplate {
        /// `lt-...`
        id: String,
        name: String,
        /// Number of its default version.
        before: u64,
        /// Description that identifies the new version.
        description: String,
        /// Client token: AWS creates one version for each.
        token: String,
    },
}

impl Change {
    /// Name of the target in messages.
    pub fn name(&self) -> String {
        match &self.target {
            Target::Parameter { name, .. } => format!("{} parameter {name}", self.region),
            Target::LaunchTemplate { name, .. } => {
                format!("{} launch template {name}", self.region)
            }
        }
    }
}

/// Prefix of the descriptions of launch template versions that karat creates.
pub const DESCRIPTION_PREFIX: &str = "karat ";

/// Returns the changes after which all targets of a region name this AMI. `note` becomes part of the description of launch
/// template versions.
pub async fn changes(
    region: &Region,
    targets: &Ec2Targets,
    image: &str,
    note: &str,
) -> Result<Vec<Change>, AwsError> {
    let mut changes = Vec::new();
    let change = |target| Change {
        region: region.name().to_owned(),
        image: image.to_owned(),
        target,
    };
    if let Some(name) = &targets.parameter {
        let now = parameters::get(region, name).await?;
        if now.as_deref() != Some(image) {
            changes.push(change(Target::Parameter {
                name: name.clone(),
                before: now,
            }));
        }
    }
    if let Some(name) = &targets.launch_template {
        let template = launch_templates::get(region, name).await?;
        if default_image(region, &template.id).await?.as_deref() != Some(image) {
            changes.push(change(Target::LaunchTemplate {
                id: template.id,
                name: name.clone(),
                before: template.default,
                description: format!("{DESCRIPTION_PREFIX}{note}"),
                token: token(),
            }));
        }
    }
    Ok(changes)
}

/// Makes all changes and reads each back. After a failure, other changes may have been made.
pub async fn apply(aws: &Aws, changes: &[Change]) -> Result<(), AwsError> {
    let made = changes.iter().map(|change| make(aws, change));
    join_all(made).await.into_iter().collect()
}

/// Undoes all changes. Returns whether everything is as it was before, and reports what is not.
pub async fn undo(aws: &Aws, changes: &[Change], ui: &Ui) -> bool {
    let undone = join_all(changes.iter().map(|change| unmake(aws, change, ui))).await;
    let mut is_complete = true;
    for (change, undone) in changes.iter().zip(undone) {
        if let Err(error) = undone {
            is_complete = false;
            ui.error(&format!(
                "could not undo the change of {}: {error}",
                change.name()
            ));
        }
    }
    is_complete
}

async fn make(aws: &Aws, change: &Change) -> Result<(), AwsError> {
    let region = aws.region(&change.region);
    match &change.target {
        Target::Parameter { name, .. } => set_parameter(&region, name, &change.image).await,
        Target::LaunchTemplate {
            id,
            before,
            description,
            token,
            ..
        } => {
            let version = launch_templates::create_version(
                &region,
                id,
                *before,
                &change.image,
                description,
                token,
            )
            .await?;
            launch_templates::set_default_version(&region, id, version.number).await?;
            if default_image(&region, id).await?.as_deref() == Some(&change.image) {
                return Ok(());
            }
            Err(AwsError::Failed {
                what: format!("the default version of {id}"),
                region: change.region.clone(),
                state: "another one".to_owned(),
                reason: Some("another process changes it".to_owned()),
            })
        }
    }
}

/// Undoes a change, whether it was made or not. Later changes by others stay.
async fn unmake(aws: &Aws, change: &Change, ui: &Ui) -> Result<(), AwsError> {
    let region = aws.region(&change.region);
    match &change.target {
        Target::Parameter { name, before } => {
            let now = parameters::get(&region, name).await?;
            match before {
                _ if now == *before => Ok(()),
                // AWS may still be checking the AMI that was set last.
                Some(before) => set_parameter(&region, name, before).await,
                None => parameters::delete(&region, name).await,
            }
        }
        Target::LaunchTemplate {
            id,
            before,
            description,
            ..
        } => {
            let versions = launch_templates::versions(&region, id, &[]).await?;
            let ours = || {
                let ours = versions
                    .iter()
                    .filter(|version| version.description == *description);
                ours.filter(|version| version.number != *before)
            };
            if ours().any(|version| version.is_default) {
                launch_templates::set_default_version(&region, id, *before).await?;
            }
            let numbers: Vec<u64> = ours().map(|version| version.number).collect();
            // A version that stays does no harm.
            if let Err(error) = launch_templates::delete_versions(&region, id, &numbers).await {
                ui.warn(&format!(
                    "{} keeps an unused version: {error}",
                    change.name()
                ));
            }
            Ok(())
        }
    }
}

/// Describes the targets of a region that do not name the channel's AMI.
pub async fn drift(
    region: &Region,
    targets: &Ec2Targets,
    image: &str,
) -> Result<Vec<String>, AwsError> {
    let changes = match changes(region, targets, image, "").await {
        Ok(changes) => changes,
        Err(error) if error.is_not_found() => return Ok(vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    let described = changes.iter().map(|change| match &change.target {
        Target::Parameter { before: None, .. } => {
            format!("{} is gone; it should be {image}", change.name())
        }
        Target::Parameter {
            before: Some(now), ..
        } => format!("{} is {now}, and should be {image}", change.name()),
        Target::LaunchTemplate { .. } => {
            format!("{} launches another image than {image}", change.name())
        }
    });
    Ok(described.collect())
}

async fn set_parameter(region: &Region, name: &str, image: &str) -> Result<(), AwsError> {
    parameters::put_image(region, name, image).await?;
    parameters::wait_value(region, name, image).await
}

async fn default_image(region: &Region, template: &str) -> Result<Option<String>, AwsError> {
    let versions = launch_templates::versions(region, template, &["$Default"]).await?;
    let first = versions.into_iter().next();
    Ok(first.and_then(|version| version.image().map(str::to_owned)))
}
