//! Sealed guests: the backend blocks their outbound traffic, and connections fail at once instead of timing out.

use std::time::Duration;

use tokio::time::timeout;

use crate::ssh::{Session, SshError, quote};
use crate::ui::Ui;

/// Timeout of a short script in the guest; a connection that takes longer is dead.
const SCRIPT_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs a script in the guest that makes outbound connections fail, over its first connection and each that replaces it: the
/// guest may have restarted.
pub(super) async fn fail_fast(session: &Session, script: &str, ui: &Ui) -> Result<(), SshError> {
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
