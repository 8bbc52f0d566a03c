//! An image of the store → where it is launched from.

pub mod ec2;
