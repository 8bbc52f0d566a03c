//! Instances that use an AMI.

use super::instances::Instances;
use super::{Filter, Instance};
use crate::aws::AwsError;

impl Instances<'_> {
    /// Lists instances launched from these AMIs that are not terminated. Covers the caller's own account: AWS does not list the
    /// instances of other accounts.
    pub async fn launched_from(self, images: &[&str]) -> Result<Vec<Instance>, AwsError> {
        let states = ["pending", "running", "stopping", "stopped"];
        self.list(&[
            Filter::new("image-id", images.iter().copied()),
            Filter::new("instance-state-name", states),
        ])
        .await
    }
}
