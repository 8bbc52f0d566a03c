//! EC2: images, snapshots, volumes, launch templates, instances and their networks.

mod image_users;
mod images;
mod instances;
mod launch_templates;
mod network;
mod snapshots;
mod tags;
mod volumes;

use serde::Deserialize;

use super::endpoint::Service;
use super::query::Query;

pub use images::{Image, NewImage, Shares};
pub use instances::{Instance, NewInstance, NewVolume};
pub use launch_templates::{LaunchTemplate, LaunchTemplateVersion};
pub use network::{NewSecurityGroup, SecurityGroup, Subnet};
pub use snapshots::Snapshot;
pub use tags::{Tag, Tags};
pub use volumes::Volume;

/// The version of the API that all calls are of: it is the last one since 2016, and grows in place.
const VERSION: &str = "2016-11-15";

fn ec2(action: &'static str) -> Query {
    Query::new(Service::Ec2, action, VERSION)
}

/// What a search is narrowed by: values of one property, any of which will do.
#[derive(Clone, Debug)]
pub struct Filter {
    name: String,
    values: Vec<String>,
}

impl Filter {
    /// Things whose `name` is one of these.
    pub fn new(
        name: impl Into<String>,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            name: name.into(),
            values: values.into_iter().map(Into::into).collect(),
        }
    }

    /// Things with a tag of this value.
    #[must_use]
    pub fn tag(key: &str, value: &str) -> Self {
        Self::new(format!("tag:{key}"), [value])
    }

    /// Things with a tag of this name.
    #[must_use]
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
    /// Narrows a search.
    fn filtered(mut self, filters: &[Filter]) -> Self {
        for (at, filter) in filters.iter().enumerate() {
            let name = format!("Filter.{}", at + 1);
            self.set(&format!("{name}.Name"), &filter.name);
            self = self.with_all(&format!("{name}.Value"), &filter.values);
        }
        self
    }
}

/// A list in an answer.
#[derive(Clone, Debug, Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// An answer that says nothing but that it is done.
#[derive(Debug, Deserialize)]
struct Done {}
