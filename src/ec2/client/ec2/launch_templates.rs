//! Launch templates: settings that instances of a group are launched with.

use serde::Deserialize;

use super::{Filter, ec2};
use crate::ec2::client::{AwsError, Region};

/// Launch template as AWS describes it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LaunchTemplate {
    /// `lt-...`
    #[serde(rename = "launchTemplateId")]
    pub id: String,
    /// Version used where none is named.
    #[serde(rename = "defaultVersionNumber")]
    pub default: u64,
}

/// Version of a launch template.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct LaunchTemplateVersion {
    /// Id of the template.
    #[serde(rename = "launchTemplateId")]
    pub template: String,
    /// Number, counted from 1.
    #[serde(rename = "versionNumber")]
    pub number: u64,
    #[serde(default, rename = "defaultVersion")]
    pub is_default: bool,
    #[serde(default, rename = "versionDescription")]
    pub description: String,
    #[serde(default, rename = "launchTemplateData")]
    data: Data,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    image_id: Option<String>,
}

impl LaunchTemplateVersion {
    /// Returns the AMI that it launches: an id, or `resolve:ssm:...` for one named by a parameter.
    pub fn image(&self) -> Option<&str> {
        self.data.image_id.as_deref()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    launch_template_version: LaunchTemplateVersion,
}

/// Returns a launch template, by name or id.
pub async fn get(region: &Region, name: &str) -> Result<LaunchTemplate, AwsError> {
    let query = ec2("DescribeLaunchTemplates").with_all(parameter_for(name), [name]);
    let found = region.list(query).await?;
    region.first_of(found, format!("launch template {name}"))
}

/// Lists versions of a launch template: the named ones (numbers, `$Default`, `$Latest`), or all when none are named.
pub async fn versions(
    region: &Region,
    name: &str,
    versions: &[&str],
) -> Result<Vec<LaunchTemplateVersion>, AwsError> {
    let query = ec2("DescribeLaunchTemplateVersions")
        .with(parameter_for(name), name)
        .with_all("LaunchTemplateVersion", versions);
    region.list(query).await
}

/// Lists the versions of all launch templates that launch one of these AMIs.
pub async fn versions_launching(
    region: &Region,
    images: &[&str],
) -> Result<Vec<LaunchTemplateVersion>, AwsError> {
    let templates: Vec<LaunchTemplate> = region.list(ec2("DescribeLaunchTemplates")).await?;
    let mut all: Vec<LaunchTemplateVersion> = Vec::new();
    for template in templates {
        let filter = Filter::new("image-id", images.iter().copied());
        let query = ec2("DescribeLaunchTemplateVersions")
            .with("LaunchTemplateId", &template.id)
            .filtered(&[filter]);
        all.append(&mut region.list(query).await?);
    }
    all.retain(|version| version.image().is_some_and(|image| images.contains(&image)));
    Ok(all)
}

/// Creates a version that differs from version `source` in its AMI. A repeated call with the same token creates nothing.
pub async fn create_version(
    region: &Region,
    template: &str,
    source: u64,
    image: &str,
    description: &str,
    token: &str,
) -> Result<LaunchTemplateVersion, AwsError> {
    let query = ec2("CreateLaunchTemplateVersion")
        .with("ClientToken", token)
        .with("LaunchTemplateId", template)
        .with("SourceVersion", source)
        .with("VersionDescription", description)
        .with("LaunchTemplateData.ImageId", image);
    let made: Created = region.query(query).await?;
    Ok(made.launch_template_version)
}

pub async fn set_default_version(
    region: &Region,
    template: &str,
    number: u64,
) -> Result<(), AwsError> {
    let query = ec2("ModifyLaunchTemplate")
        .with("LaunchTemplateId", template)
        .with("SetDefaultVersion", number);
    region.perform(query).await
}

/// Deletes versions of a launch template. AWS keeps the default version.
pub async fn delete_versions(
    region: &Region,
    template: &str,
    numbers: &[u64],
) -> Result<(), AwsError> {
    if numbers.is_empty() {
        return Ok(());
    }
    let query = ec2("DeleteLaunchTemplateVersions")
        .with("LaunchTemplateId", template)
        .with_all("LaunchTemplateVersion", numbers);
    region.perform(query).await
}

fn parameter_for(name: &str) -> &'static str {
    ["LaunchTemplateName", "LaunchTemplateId"][usize::from(name.starts_with("lt-"))]
}
