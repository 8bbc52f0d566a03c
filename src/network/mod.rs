//! What a guest may have from the network, through this host alone: a proxy that is carried over the SSH connection
//! serves what was declared and keeps a log of it.

mod authority;
mod egress;
mod environment;
mod log;
mod proxy;
mod rules;
mod server;
mod upstream;

pub use egress::{Seal, SealError};
pub use log::{Content, Served};
pub use proxy::Proxy;
pub use rules::{InvalidRule, Purpose, Rule, Rules};
