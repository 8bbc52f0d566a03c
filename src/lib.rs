//! karat builds golden machine images whose purity can be proved.
//!
//! Data flows one way: [`template`] → [`plan`] → [`build`] → image → [`manifest`] → [`store`]. No module looks back.

pub mod template;
pub mod plan;
pub mod fetch;
pub mod base;
pub mod builder;
pub mod ssh;
pub mod provision;
pub mod build;
pub mod disk;
pub mod manifest;
pub mod store;
pub mod commands;
pub mod run;

pub mod atomic;
pub mod child;
pub mod digest;
pub mod flock;
pub mod hashing;
pub mod secret;
pub mod size;
pub mod ui;
