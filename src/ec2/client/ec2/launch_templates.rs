//! Launch templates: what instances of a group are launched of.

use serde::Deserialize;

use super::{Done, Filter, Items, ec2};
use crate::ec2::client::{AwsError, Region};

/// What is known of a launch template.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchTemplate {
    /// `lt-...`
    #[serde(rename = "launchTemplateId")]
    pub id: String,
    /// Its name.
    #[serde(rename = "launchTemplateName")]
    pub name: String,
    /// The version that is taken where none is named.
    #[serde(rename = "defaultVersionNumber")]
    pub default: u64,
}

/// One version of a launch template.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchTemplateVersion {
    /// The template.
    #[serde(rename = "launchTemplateId")]
    pub template: String,
    /// From 1.
    #[serde(rename = "versionNumber")]
    pub number: u64,
    /// Whether it is the default one.
    #[serde(default, rename = "defaultVersion")]
    pub is_default: bool,
    /// What somebody wrote about it.
    #[serde(default, rename = "versionDescription")]
    pub description: String,
    #[serde(default, rename = "launchTemplateData")]
    data: Data,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    #[serde(default)]
    image_id: Option<String>,
}

impl LaunchTemplateVersion {
    /// The AMI that it launches; `resolve:ssm:...` for one that a parameter names.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        self.data.image_id.as_deref()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Templates {
    #[serde(default)]
    launch_templates: Items<LaunchTemplate>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    #[serde(default)]
    launch_template_version_set: Items<LaunchTemplateVersion>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    launch_template_version: LaunchTemplateVersion,
}

impl Region {
    /// A launch template, by its name or its id.
    ///
    /// # Errors
    /// There is none, or the principal may not ask.
    pub async fn launch_template(&self, name: &str) -> Result<LaunchTemplate, AwsError> {
        let query = ec2("DescribeLaunchTemplates").with_all(kind_of(name), [name]);
        let found: Templates = self.query(query).await?;
        let first = found.launch_templates.item.into_iter().next();
        first.ok_or_else(|| AwsError::Gone {
            what: format!("launch template {name}"),
            region: self.name.clone(),
        })
    }

    /// Versions of a launch template (`$Default`, numbers; all when none are named).
    ///
    /// # Errors
    /// There is none, or the principal may not ask.
    pub async fn launch_template_versions(
        &self,
        name: &str,
        versions: &[&str],
    ) -> Result<Vec<LaunchTemplateVersion>, AwsError> {
        let parameter = kind_of(name);
        let query = ec2("DescribeLaunchTemplateVersions")
            .with(parameter, name)
            .with_all("LaunchTemplateVersion", versions);
        self.all_versions(query).await
    }

    /// Versions of all launch templates that launch one of these AMIs.
    ///
    /// # Errors
    /// The principal may not ask.
    pub async fn launch_template_versions_of(
        &self,
        images: &[&str],
    ) -> Result<Vec<LaunchTemplateVersion>, AwsError> {
        let templates = self.launch_templates().await?;
        let mut all = Vec::new();
        for template in templates {
            let filter = Filter::new("image-id", images.iter().copied());
            let query = ec2("DescribeLaunchTemplateVersions")
                .with("LaunchTemplateId", &template.id)
                .filtered(&[filter]);
            all.extend(self.all_versions(query).await?);
        }
        all.retain(|it| it.image().is_some_and(|image| images.contains(&image)));
        Ok(all)
    }

    async fn launch_templates(&self) -> Result<Vec<LaunchTemplate>, AwsError> {
        let take = |page: Templates| (page.launch_templates.item, page.next_token);
        self.pages(ec2("DescribeLaunchTemplates"), take).await
    }

    async fn all_versions(
        &self,
        query: crate::ec2::client::query::Query,
    ) -> Result<Vec<LaunchTemplateVersion>, AwsError> {
        let take = |page: Versions| (page.launch_template_version_set.item, page.next_token);
        self.pages(query, take).await
    }

    /// Makes a version that is as `source` but for its AMI. With the same token it happens once.
    ///
    /// # Errors
    /// There is no such template or version, or the principal may not.
    pub async fn new_launch_template_version(
        &self,
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
        let made: Created = self.query(query).await?;
        Ok(made.launch_template_version)
    }

    /// Makes a version the default one.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn default_launch_template_version(
        &self,
        template: &str,
        number: u64,
    ) -> Result<(), AwsError> {
        let query = ec2("ModifyLaunchTemplate")
            .with("LaunchTemplateId", template)
            .with("SetDefaultVersion", number);
        self.query::<Done>(query).await.map(drop)
    }

    /// Removes versions of a launch template; the default one stays.
    ///
    /// # Errors
    /// There is no such template, or the principal may not.
    pub async fn delete_launch_template_versions(
        &self,
        template: &str,
        numbers: &[u64],
    ) -> Result<(), AwsError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let query = ec2("DeleteLaunchTemplateVersions")
            .with("LaunchTemplateId", template)
            .with_all("LaunchTemplateVersion", numbers);
        self.query::<Done>(query).await.map(drop)
    }
}

fn kind_of(name: &str) -> &'static str {
    ["LaunchTemplateName", "LaunchTemplateId"][usize::from(name.starts_with("lt-"))]
}
