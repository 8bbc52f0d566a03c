//! Network access of a sealed guest: a proxy, reached through the SSH connection, serves the declared URLs and logs them.

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
