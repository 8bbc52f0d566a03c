//! A sealed guest: its builder lets nothing out of it, and programs that try are told at once.

use std::time::Duration;

use tokio::time::timeout;

use crate::network::EgressProxy;
use crate::ssh::{Session, SshError, quote};
use crate::ui::Ui;

/// A short script in a guest; beyond this the line is dead.
const LIMIT: Duration = Duration::from_mins(1);

/// Sets the guest up over its first connection, with a script that makes whatever would leave it fail.
pub(crate) async fn attach(
    seal: &mut EgressProxy,
    session: &Session,
    script: &str,
) -> Result<(), SshError> {
    fail_fast(session, script, seal.ui()).await?;
    seal.attach(session).await
}

/// As [`attach`], over a connection that takes the place of one before: the guest may have restarted.
pub(crate) async fn attach_again(
    seal: &mut EgressProxy,
    session: &Session,
    script: &str,
) -> Result<(), SshError> {
    fail_fast(session, script, seal.ui()).await?;
    seal.attach_again(session).await
}

async fn fail_fast(session: &Session, script: &str, ui: &Ui) -> Result<(), SshError> {
    let command = format!("exec sh -c {} karat-sealed", quote(script));
    match timeout(LIMIT, session.output(&command)).await {
        Ok(Err(error @ SshError::Failed { .. })) => {
            let text = "programs of the guest that know no proxy may wait long for the network";
            ui.warn(&format!("{text}: {error}"));
            Ok(())
        }
        Ok(done) => done.map(drop),
        Err(_) => Err(session.disconnected()),
    }
}
