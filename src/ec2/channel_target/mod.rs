//! What a channel moves at AWS: a parameter and the default version of a launch template, in every region.

mod journal;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::ec2::client::{Aws, AwsError, Region, token};
use crate::store::Ec2Targets;
use crate::ui::Ui;

pub use journal::Journal;

/// One thing that moves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Where.
    pub region: String,
    /// The AMI that it names then.
    pub image: String,
    /// What moves.
    pub what: What,
}

/// What moves, and where it pointed before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// A parameter; it may not have been there.
    Parameter {
        /// Its name.
        name: String,
        /// What it said.
        before: Option<String>,
    },
    /// The default version of a launch template.
    LaunchTemplate {
        /// `lt-...`
        id: String,
        /// Its name.
        name: String,
        /// The version that was the default.
        before: u64,
        /// What its new version is known by.
        description: String,
        /// With the same one it is made once.
        token: String,
    },
}

impl Change {
    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.what {
            What::Parameter { name, .. } => format!("{} parameter {name}", self.region),
            What::LaunchTemplate { name, .. } => format!("{} launch template {name}", self.region),
        }
    }
}

/// How the descriptions of launch templates' versions begin that karat makes.
pub const OURS: &str = "karat ";

/// What has to be done so that all targets of a region name this AMI. `note` says why, for the versions of launch templates.
///
/// # Errors
/// There is no such launch template, or a call failed.
pub async fn changes(
    region: &Region,
    targets: &Ec2Targets,
    image: &str,
    note: &str,
) -> Result<Vec<Change>, AwsError> {
    let mut changes = Vec::new();
    let change = |what| Change {
        region: region.name().to_owned(),
        image: image.to_owned(),
        what,
    };
    if let Some(name) = &targets.parameter {
        let now = region.parameter(name).await?.map(|it| it.value);
        if now.as_deref() != Some(image) {
            changes.push(change(What::Parameter {
                name: name.clone(),
                before: now,
            }));
        }
    }
    if let Some(name) = &targets.launch_template {
        let template = region.launch_template(name).await?;
        if default_image(region, &template.id).await?.as_deref() != Some(image) {
            let token = token();
            changes.push(change(What::LaunchTemplate {
                id: template.id,
                name: name.clone(),
                before: template.default,
                description: format!("{OURS}{note}"),
                token,
            }));
        }
    }
    Ok(changes)
}

/// Makes all changes, and reads each back.
///
/// # Errors
/// The first failure; others may have been made.
pub async fn apply(aws: &Aws, changes: &[Change]) -> Result<(), AwsError> {
    let made = changes.iter().map(|it| make(aws, it));
    join_all(made).await.into_iter().collect()
}

/// Puts everything back that was changed. Returns whether all of it is as it was; what is not is said.
pub async fn undo(aws: &Aws, changes: &[Change], ui: &Ui) -> bool {
    let undone = join_all(changes.iter().map(|it| unmake(aws, it, ui))).await;
    let mut is_whole = true;
    for (change, undone) in changes.iter().zip(undone) {
        if let Err(error) = undone {
            is_whole = false;
            ui.error(&format!("{} could not be put back: {error}", change.name()));
        }
    }
    is_whole
}

async fn make(aws: &Aws, change: &Change) -> Result<(), AwsError> {
    let region = aws.region(&change.region);
    match &change.what {
        What::Parameter { name, .. } => {
            region.put_image_parameter(name, &change.image).await?;
            region.parameter_says(name, &change.image).await
        }
        What::LaunchTemplate {
            id,
            before,
            description,
            token,
            ..
        } => {
            let version =
                region.new_launch_template_version(id, *before, &change.image, description, token);
            let number = version.await?.number;
            region.default_launch_template_version(id, number).await?;
            if default_image(&region, id).await?.as_deref() == Some(&change.image) {
                return Ok(());
            }
            Err(AwsError::Failed {
                what: format!("the default version of {id}"),
                region: change.region.clone(),
                state: "another one".to_owned(),
                because: Some("somebody else changes it".to_owned()),
            })
        }
    }
}

/// Puts a change back, whether it was made or not. What somebody else has changed since stays.
async fn unmake(aws: &Aws, change: &Change, ui: &Ui) -> Result<(), AwsError> {
    let region = aws.region(&change.region);
    match &change.what {
        What::Parameter { name, before } => {
            let now = region.parameter(name).await?.map(|it| it.value);
            match before {
                _ if now == *before => Ok(()),
                // AWS may still be looking at the AMI that was put last.
                Some(before) => {
                    region.put_image_parameter(name, before).await?;
                    region.parameter_says(name, before).await
                }
                None => region.delete_parameter(name).await,
            }
        }
        What::LaunchTemplate {
            id,
            before,
            description,
            ..
        } => {
            let versions = region.launch_template_versions(id, &[]).await?;
            let ours = versions
                .iter()
                .filter(|it| it.description == *description && it.number != *before);
            let ours: Vec<u64> = ours.map(|it| it.number).collect();
            if versions
                .iter()
                .any(|it| it.is_default && ours.contains(&it.number))
            {
                region.default_launch_template_version(id, *before).await?;
            }
            // One that is left is in nobody's way.
            if let Err(error) = region.delete_launch_template_versions(id, &ours).await {
                let left = format!(
                    "{} keeps a version that nobody uses: {error}",
                    change.name()
                );
                ui.warn(&left);
            }
            Ok(())
        }
    }
}

/// What differs from what a channel says: targets of a region that name another AMI.
///
/// # Errors
/// A call failed.
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
    let told = changes.iter().map(|change| match &change.what {
        What::Parameter { before: None, .. } => {
            format!("{} is gone; it should be {image}", change.name())
        }
        What::Parameter {
            before: Some(now), ..
        } => format!("{} is {now}, and should be {image}", change.name()),
        What::LaunchTemplate { .. } => {
            format!("{} launches another image than {image}", change.name())
        }
    });
    Ok(told.collect())
}

async fn default_image(region: &Region, template: &str) -> Result<Option<String>, AwsError> {
    let versions = region
        .launch_template_versions(template, &["$Default"])
        .await?;
    let first = versions.into_iter().next();
    Ok(first.and_then(|it| it.image().map(str::to_owned)))
}
