//! SSH against real sshds on loopback.

mod connect;
mod download;
mod exec;
mod proxy;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod upload;

use std::time::Duration;

use karat::ssh::{Session, SshError};
use karat::ui::{Bar, Ui};
use support::sshd;

/// Long enough on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn login(sshd: &sshd::Sshd) -> Session {
    karat::ssh::connect(&sshd.target(), PATIENCE).await.unwrap()
}

/// An error with its reasons, as the user sees them.
fn chain(error: &SshError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(reason) = source {
        text = format!("{text}: {reason}");
        source = reason.source();
    }
    text
}

fn bar() -> Bar {
    fn made<T: Default>() -> T {
        T::default()
    }
    made::<Ui>().bar("files", None)
}
