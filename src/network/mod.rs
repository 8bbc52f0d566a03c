//! What a guest may have from the network, through this host alone: a proxy that is carried over the SSH connection
//! serves what was declared and keeps a log of it.

mod authority;
mod environment;
mod log;
mod proxy;
mod rules;
mod seal;
mod server;
mod upstream;

pub use log::{Content, Served};
pub use proxy::Proxy;
pub use rules::{InvalidRule, Purpose, Rule, Rules};
pub use seal::{Seal, SealError};
