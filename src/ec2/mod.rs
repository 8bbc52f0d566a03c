//! EC2: the client of its API, the machine backend, publication of images as AMIs, IAM policies, and what channels move there.

pub(crate) mod channel_target;
pub(crate) mod client;
pub(crate) mod iam;
pub(crate) mod machine;
pub(crate) mod publish;
