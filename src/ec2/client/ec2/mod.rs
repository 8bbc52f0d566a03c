//! EC2: images, snapshots, volumes, launch templates, instances and their networks, one file each.

pub mod images;
pub mod instances;
pub mod launch_templates;
mod network;
pub mod security_groups;
pub mod snapshots;
mod tags;
pub mod volumes;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::endpoint::Service;
use super::query::{Items, Page, Query};
use super::{AwsError, Region};

pub use images::{Image, NewImage, Shares};
pub use instances::{Instance, NewInstance, NewVolume};
pub use launch_templates::LaunchTemplateVersion;
pub use network::Subnet;
pub use security_groups::NewSecurityGroup;
pub use tags::Tags;

/// API version of all calls: the last one since 2016, which grows in place.
const VERSION: &str = "2016-11-15";

fn ec2(action: &'static str) -> Query {
    Query::new(Service::Ec2, action, VERSION)
}

/// Search filter: a property with its accepted values.
#[derive(Clone, Debug)]
pub struct Filter {
    name: String,
    values: Vec<String>,
}

impl Filter {
    /// Matches resources whose property `name` has one of these values.
    pub fn new(
        name: impl Into<String>,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            name: name.into(),
            values: values.into_iter().map(Into::into).collect(),
        }
    }

    /// Matches resources with this tag and value.
    pub fn tag(key: &str, value: &str) -> Self {
        Self::new(format!("tag:{key}"), [value])
    }

    /// Matches resources that have this tag, with any value.
    pub fn tagged(key: &str) -> Self {
        Self::new("tag-key", [key])
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.values.join(" or "))
    }
}

impl Query {
    fn filtered(mut self, filters: &[Filter]) -> Self {
        for (at, filter) in filters.iter().enumerate() {
            let name = format!("Filter.{}", at + 1);
            self.set(&format!("{name}.Name"), &filter.name);
            self = self.with_all(&format!("{name}.Value"), &filter.values);
        }
        self
    }
}

/// Volume of an AMI or instance, and the device that it is attached as.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    #[serde(default)]
    device_name: String,
    ebs: Option<MappedVolume>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MappedVolume {
    snapshot_id: Option<String>,
    volume_id: Option<String>,
    #[serde(default)]
    volume_size: u64,
}

impl Items<Mapping> {
    fn volume_of(&self, device: &str) -> Option<&MappedVolume> {
        let mut mappings = self.item.iter();
        let mapping = mappings.find(|mapping| mapping.device_name == device);
        mapping?.ebs.as_ref()
    }
}

/// AWS's explanation of a state.
#[derive(Clone, Debug, Deserialize)]
struct StateReason {
    message: Option<String>,
}

/// Response that carries nothing but its success.
#[derive(Debug, Deserialize)]
struct Done {}

impl Region {
    /// Sends a call whose response carries nothing.
    async fn perform(&self, query: Query) -> Result<(), AwsError> {
        self.query::<Done>(query).await.map(drop)
    }

    /// Sends a call and collects the list in its response.
    async fn list<T: DeserializeOwned>(&self, query: Query) -> Result<Vec<T>, AwsError> {
        self.pages(query, Page::into_parts).await
    }

    /// Returns the first of `found`, or an error that `what` does not exist in this region.
    fn first_of<T>(&self, found: Vec<T>, what: impl Into<String>) -> Result<T, AwsError> {
        found.into_iter().next().ok_or_else(|| AwsError::Gone {
            what: what.into(),
            region: self.name.clone(),
        })
    }
}
