//! The `pause` step: waits, for what a machine does by itself.

use std::time::Duration;

/// Waits. Dropping the future ends it at once.
pub(super) async fn run(length: Duration) {
    tokio::time::sleep(length).await;
}
