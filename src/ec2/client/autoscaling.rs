//! Auto Scaling: the AMIs that groups launch.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::endpoint::Service;
use super::query::{Page, Query};
use super::{AwsError, Region};

const VERSION: &str = "2011-01-01";

/// Launch settings of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupLaunch {
    /// Name of the group.
    pub group: String,
    /// Launch templates, as pairs of `lt-...` and a version, which may be `$Default` or `$Latest`.
    pub templates: Vec<(String, String)>,
    /// Name of a launch configuration.
    pub configuration: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Answer<T> {
    #[serde(
        rename = "DescribeAutoScalingGroupsResult",
        alias = "DescribeLaunchConfigurationsResult"
    )]
    result: Page<T>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    auto_scaling_group_name: String,
    launch_configuration_name: Option<String>,
    launch_template: Option<Specification>,
    mixed_instances_policy: Option<Mixed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mixed {
    launch_template: Option<MixedTemplate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MixedTemplate {
    launch_template_specification: Option<Specification>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Specification {
    launch_template_id: Option<String>,
    version: Option<String>,
}

impl Specification {
    fn id_and_version(self) -> Option<(String, String)> {
        // Without a version, the group launches the default one.
        let version = self.version.unwrap_or_else(|| "$Default".to_owned());
        Some((self.launch_template_id?, version))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    launch_configuration_name: String,
    #[serde(default)]
    image_id: String,
}

impl From<Group> for GroupLaunch {
    fn from(group: Group) -> Self {
        let mixed = group
            .mixed_instances_policy
            .and_then(|policy| policy.launch_template)
            .and_then(|template| template.launch_template_specification);
        let templates = [group.launch_template, mixed].into_iter().flatten();
        Self {
            group: group.auto_scaling_group_name,
            templates: templates
                .filter_map(Specification::id_and_version)
                .collect(),
            configuration: group.launch_configuration_name,
        }
    }
}

/// Lists the launch settings of all groups.
pub async fn groups(region: &Region) -> Result<Vec<GroupLaunch>, AwsError> {
    let groups: Vec<Group> = list(region, "DescribeAutoScalingGroups").await?;
    Ok(groups.into_iter().map(GroupLaunch::from).collect())
}

/// Lists launch configurations, as pairs of name and AMI.
pub async fn launch_configurations(region: &Region) -> Result<Vec<(String, String)>, AwsError> {
    let found: Vec<Configuration> = list(region, "DescribeLaunchConfigurations").await?;
    let pair = |found: Configuration| (found.launch_configuration_name, found.image_id);
    Ok(found.into_iter().map(pair).collect())
}

async fn list<T: DeserializeOwned>(
    region: &Region,
    action: &'static str,
) -> Result<Vec<T>, AwsError> {
    let query = Query::new(Service::AutoScaling, action, VERSION);
    let take = |page: Answer<T>| page.result.into_parts();
    region.pages(query, take).await
}
