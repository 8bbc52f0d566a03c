//! Auto Scaling: which AMIs groups launch.

use serde::Deserialize;

use super::endpoint::Service;
use super::query::Query;
use super::{AwsError, Region};

const VERSION: &str = "2011-01-01";

/// What a group launches its instances of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Launches {
    /// The group.
    pub group: String,
    /// `lt-...` with the version, which may be `$Default` or `$Latest`.
    pub templates: Vec<(String, String)>,
    /// The name of a launch configuration.
    pub configuration: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<T> {
    #[serde(
        rename = "DescribeAutoScalingGroupsResult",
        alias = "DescribeLaunchConfigurationsResult"
    )]
    result: T,
}

#[derive(Debug, Deserialize)]
struct Members<T> {
    #[serde(default = "Vec::new")]
    member: Vec<T>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { member: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Groups {
    #[serde(default)]
    auto_scaling_groups: Members<Group>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    auto_scaling_group_name: String,
    #[serde(default)]
    launch_configuration_name: Option<String>,
    #[serde(default)]
    launch_template: Option<Specification>,
    #[serde(default)]
    mixed_instances_policy: Option<Mixed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mixed {
    #[serde(default)]
    launch_template: Option<MixedTemplate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MixedTemplate {
    #[serde(default)]
    launch_template_specification: Option<Specification>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Specification {
    #[serde(default)]
    launch_template_id: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

impl Specification {
    fn named(self) -> Option<(String, String)> {
        // Without a version it is the default one.
        let version = self.version.unwrap_or_else(|| "$Default".to_owned());
        Some((self.launch_template_id?, version))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configurations {
    #[serde(default)]
    launch_configurations: Members<Configuration>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    launch_configuration_name: String,
    #[serde(default)]
    image_id: String,
}

impl From<Group> for Launches {
    fn from(group: Group) -> Self {
        let mixed = group.mixed_instances_policy;
        let mixed = mixed.and_then(|it| it.launch_template);
        let mixed = mixed.and_then(|it| it.launch_template_specification);
        let templates = [group.launch_template, mixed].into_iter().flatten();
        Self {
            group: group.auto_scaling_group_name,
            templates: templates.filter_map(Specification::named).collect(),
            configuration: group.launch_configuration_name,
        }
    }
}

impl Region {
    /// What every group launches.
    ///
    /// # Errors
    /// The principal may not ask.
    pub async fn auto_scaling_groups(&self) -> Result<Vec<Launches>, AwsError> {
        let query = Query::new(Service::AutoScaling, "DescribeAutoScalingGroups", VERSION);
        let take = |page: Answer<Groups>| {
            let found = page.result.auto_scaling_groups.member.into_iter();
            (found.map(Launches::from).collect(), page.result.next_token)
        };
        self.pages(query, take).await
    }

    /// Launch configurations, each with its AMI.
    ///
    /// # Errors
    /// The principal may not ask.
    pub async fn launch_configurations(&self) -> Result<Vec<(String, String)>, AwsError> {
        let action = "DescribeLaunchConfigurations";
        let query = Query::new(Service::AutoScaling, action, VERSION);
        let take = |page: Answer<Configurations>| {
            let found = page.result.launch_configurations.member.into_iter();
            let found = found.map(|it| (it.launch_configuration_name, it.image_id));
            (found.collect(), page.result.next_token)
        };
        self.pages(query, take).await
    }
}
