//! What uses AMIs.

use serde::Deserialize;

use super::{Done, Filter, Items, ec2};
use crate::aws::{AwsError, Region};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservations {
    #[serde(default)]
    reservation_set: Items<Reservation>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: Items<Launched>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Launched {
    instance_id: String,
    #[serde(default)]
    image_id: String,
}

impl Region {
    /// Instances that were launched of these AMIs and are not terminated, each with its AMI. Of the account's own only: AWS does not
    /// tell what others have launched.
    ///
    /// # Errors
    /// The principal may not ask.
    pub async fn instances_of(&self, images: &[&str]) -> Result<Vec<(String, String)>, AwsError> {
        let filters = [
            Filter::new("image-id", images.iter().copied()),
            Filter::new(
                "instance-state-name",
                ["pending", "running", "stopping", "stopped"],
            ),
        ];
        let query = ec2("DescribeInstances").filtered(&filters);
        let mut all = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let page = query.clone().with_some("NextToken", from.as_ref());
            let page: Reservations = self.query(page).await?;
            let instances = page.reservation_set.item.into_iter();
            let instances = instances.flat_map(|it| it.instances_set.item);
            all.extend(instances.map(|it| (it.instance_id, it.image_id)));
            match page.next_token.filter(|token| !token.is_empty()) {
                Some(token) => from = Some(token),
                None => return Ok(all),
            }
        }
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
