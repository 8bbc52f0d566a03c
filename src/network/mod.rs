//! Network access of a sealed guest: a proxy, reached through the SSH connection, serves the declared URLs and logs them.

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
