//! What uses AMIs.

use super::{Done, Filter, Instance, ec2};
use crate::ec2::client::{AwsError, Region};

impl Region {
    /// Instances that were launched of these AMIs and are not terminated. Of the account's own only: AWS does not tell what others
    /// have launched.
    ///
    /// # Errors
    /// The principal may not ask.
    pub async fn instances_of(&self, images: &[&str]) -> Result<Vec<Instance>, AwsError> {
        let there = ["pending", "running", "stopping", "stopped"];
        self.instances(&[
            Filter::new("image-id", images.iter().copied()),
            Filter::new("instance-state-name", there),
        ])
        .await
    }

    /// Lets an AMI be found again that was deprecated.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn undeprecate_image(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("DisableImageDeprecation").with("ImageId", id);
        self.query::<Done>(query).await.map(drop)
    }

    /// Removes tags.
    ///
    /// # Errors
    /// The principal may not.
    pub async fn untag(&self, resources: &[&str], key: &str) -> Result<(), AwsError> {
        let query = ec2("DeleteTags")
            .with_all("ResourceId", resources)
            .with("Tag.1.Key", key);
        self.query::<Done>(query).await.map(drop)
    }
}
