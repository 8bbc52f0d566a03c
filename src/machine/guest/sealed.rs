//! Sealed guests: the backend blocks their outbound traffic, and connections fail at once instead of timing out.

use std::time::Duration;

use tokio::time::timeout;

use crate::network::EgressProxy;
use crate::ssh::{Session, SshError, quote};
use crate::ui::Ui;

/// Timeout of a short script in the guest; a connection that takes longer is dead.
const SCRIPT_TIMEOUT: Duration = Duration::from_mins(1);

/// Prepares the guest over its first connection, with a script that makes outbound connections fail.
pub(super) async fn attach(
    proxy: &mut EgressProxy,
    session: &Session,
    script: &str,
) -> Result<(), SshError> {
    fail_fast(session, script, proxy.ui()).await?;
    proxy.attach(session).await
}

/// As [`attach`], over a connection that replaces an earlier one: the guest may have restarted.
pub(super) async fn attach_again(
    proxy: &mut EgressProxy,
    session: &Session,
    script: &str,
) -> Result<(), SshError> {
    fail_fast(session, script, proxy.ui()).await?;
    proxy.attach_again(session).await
}

async fn fail_fast(session: &Session, script: &str, ui: &Ui) -> Result<(), SshError> {
    let command = format!("exec sh -c {} karat-sealed", quote(script));
    match timeout(SCRIPT_TIMEOUT, session.output(&command)).await {
        Ok(Err(error @ SshError::Failed { .. })) => {
            let text = "programs in the guest that use no proxy may wait long for the network";
            ui.warn(&format!("{text}: {error}"));
            Ok(())
        }
        Ok(done) => done.map(drop),
        Err(_) => Err(session.disconnected()),
    }
}
