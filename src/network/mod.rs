//! What a guest may have from the network, through this host alone: a proxy that is carried over the SSH connection
//! serves what was declared and keeps a log of it.

mod log;
mod proxy;
mod rules;
mod upstream;

pub use log::{Content, Served};
pub use proxy::Proxy;
pub use rules::{InvalidRule, Purpose, Rule, Rules};
