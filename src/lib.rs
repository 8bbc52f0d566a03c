//! karat builds golden machine images whose purity can be proved.
//!
//! Data flows one way: [`template`] → [`plan`] → ([`lock`]) → [`build`] → image → [`manifest`] → [`store`]. No module looks back.

pub(crate) mod archives;
pub(crate) mod attest;
pub(crate) mod audit;
pub(crate) mod aws;
pub mod base;
pub(crate) mod build;
pub mod builder;
pub mod channel;
pub mod commands;
pub mod debian;
pub mod disk;
pub mod fetch;
pub mod lock;
pub mod manifest;
pub mod network;
pub mod plan;
pub mod provision;
pub(crate) mod publish;
pub(crate) mod rebuild;
pub(crate) mod rpm;
pub(crate) mod run;
pub mod scan;
pub(crate) mod sign;
pub mod ssh;
pub mod store;
pub(crate) mod syslog;
pub mod template;

pub(crate) mod actor;
pub(crate) mod atomic;
pub mod child;
pub(crate) mod cidr;
pub mod digest;
pub(crate) mod flock;
pub(crate) mod hash_chain;
pub mod hashing;
pub mod secret;
pub(crate) mod size;
pub mod time;
pub mod ui;
pub(crate) mod url_path;
pub(crate) mod xdg;
