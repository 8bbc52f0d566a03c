//! Network access of a sealed guest: a proxy, reached through the SSH connection, serves the declared URLs and logs them.

mod authority;
mod egress;
mod environment;
mod log;
mod proxy;
mod rules;
mod server;
mod upstream;

pub use egress::{EgressError, EgressProxy};
pub use log::{ServedBody, ServedRequest};
pub use proxy::Proxy;
pub use rules::{InvalidRule, ProxyPurpose, UrlRule, UrlRules};
