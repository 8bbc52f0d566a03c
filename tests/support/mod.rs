//! Helpers of all test crates and benches. Each includes them with
//! `#[path = "../support/mod.rs"] mod support;` and uses some of them.

pub mod base;
pub mod boot_sector;
pub mod disk;
pub mod help;
pub mod site;
pub mod sshd;
pub mod web;
