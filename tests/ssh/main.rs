//! SSH against real sshds on loopback.

#[path = "../support/sshd.rs"]
#[expect(dead_code, reason = "shared with other tests, which use other parts of it")]
mod sshd;

mod exec;

use std::time::Duration;

use karat::ssh::{Session, SshError};

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
