//! Tags of resources.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ec2;
use crate::ec2::client::query::Query;
use crate::ec2::client::{AwsError, Region};

/// Tags to put on a resource.
pub type Tags = BTreeMap<String, String>;

/// Tags of a resource in a response.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TagSet {
    #[serde(default)]
    item: Vec<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

impl TagSet {
    /// Returns the value of a tag.
    pub fn get(&self, key: &str) -> Option<&str> {
        let tag = self.item.iter().find(|tag| tag.key == key)?;
        Some(&tag.value)
    }
}

impl Query {
    /// Tags the new resources of these kinds.
    pub(super) fn tagging(mut self, kinds: &[&str], tags: &Tags) -> Self {
        for (at, kind) in kinds.iter().enumerate().filter(|_| !tags.is_empty()) {
            let name = format!("TagSpecification.{}", at + 1);
            self.set(&format!("{name}.ResourceType"), kind);
            self.add_tags(&format!("{name}."), tags);
        }
        self
    }

    fn add_tags(&mut self, prefix: &str, tags: &Tags) {
        for (at, (key, value)) in tags.iter().enumerate() {
            self.set(&format!("{prefix}Tag.{}.Key", at + 1), key);
            self.set(&format!("{prefix}Tag.{}.Value", at + 1), value);
        }
    }
}

impl Region {
    /// Adds tags to existing resources.
    pub async fn tag(&self, resources: &[&str], tags: &Tags) -> Result<(), AwsError> {
        let mut query = ec2("CreateTags").with_all("ResourceId", resources);
        query.add_tags("", tags);
        self.perform(query).await
    }

    /// Removes a tag from resources.
    pub async fn untag(&self, resources: &[&str], key: &str) -> Result<(), AwsError> {
        let query = ec2("DeleteTags")
            .with_all("ResourceId", resources)
            .with("Tag.1.Key", key);
        self.perform(query).await
    }
}
