//! Publication of images where they are launched from.

pub(crate) mod ec2;
