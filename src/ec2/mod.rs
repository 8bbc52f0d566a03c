//! An image of the store → where it is launched from.

pub(crate) mod ec2;
