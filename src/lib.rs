//! karat builds golden machine images whose purity can be proved.
//!
//! Data flows one way: [`template`] → [`plan`] → ([`lock`]) → [`build`] → image → [`manifest`] → [`store`]. No module looks back.

pub mod archives;
pub mod attest;
pub mod audit;
pub mod aws;
pub mod base;
pub mod build;
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
pub mod publish;
pub mod rebuild;
pub mod rpm;
pub mod run;
pub mod scan;
pub mod sign;
pub mod ssh;
pub mod store;
pub mod syslog;
pub mod template;

pub mod actor;
pub mod atomic;
pub mod child;
pub mod cidr;
pub mod digest;
pub mod flock;
pub mod hashing;
pub mod secret;
pub mod size;
pub mod time;
pub mod ui;
pub mod xdg;
