//! Where a base disk comes from.

pub mod bootstrap;
