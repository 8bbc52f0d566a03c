//! Names and values that are put on resources when they are made.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Done, ec2};
use crate::ec2::client::query::Query;
use crate::ec2::client::{AwsError, Region};

/// What resources are tagged with.
pub type Tags = BTreeMap<String, String>;

/// A tag in an answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

impl Query {
    /// Tags what the call makes, each kind of resource with the same.
    pub(super) fn tagging(mut self, kinds: &[&str], tags: &Tags) -> Self {
        for (at, kind) in kinds.iter().enumerate().filter(|_| !tags.is_empty()) {
            let name = format!("TagSpecification.{}", at + 1);
            self.set(&format!("{name}.ResourceType"), kind);
            for (at, (key, value)) in tags.iter().enumerate() {
                self.set(&format!("{name}.Tag.{}.Key", at + 1), key);
                self.set(&format!("{name}.Tag.{}.Value", at + 1), value);
            }
        }
        self
    }
}

impl Region {
    /// Tags what is there already.
    ///
    /// # Errors
    /// It is not there, or the principal may not.
    pub async fn tag(&self, resources: &[&str], tags: &Tags) -> Result<(), AwsError> {
        let mut query = ec2("CreateTags").with_all("ResourceId", resources);
        for (at, (key, value)) in tags.iter().enumerate() {
            query.set(&format!("Tag.{}.Key", at + 1), key);
            query.set(&format!("Tag.{}.Value", at + 1), value);
        }
        self.query::<Done>(query).await.map(drop)
    }
}

/// The value of a tag.
pub(super) fn value<'t>(tags: &'t [Tag], key: &str) -> Option<&'t str> {
    let tag = tags.iter().find(|tag| tag.key == key);
    tag.map(|tag| tag.value.as_str())
}
