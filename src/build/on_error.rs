//! What happens to a machine whose provisioning failed.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::builder::Machine;
use crate::ui::Ui;

/// What to do with a machine whose provisioning failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum OnError {
    /// Destroy it
    #[default]
    Cleanup,
    /// Hold it, say how to log in, and destroy it on Ctrl-C
    Keep,
    /// Ask on the terminal
    Ask,
}

impl OnError {
    /// Returns when the machine may be destroyed.
    pub(super) async fn hold<M: Machine>(
        self,
        machine: &M,
        error: &str,
        ui: &Ui,
        cancel: &CancellationToken,
    ) {
        let keep = match self {
            Self::Cleanup => false,
            Self::Keep => true,
            Self::Ask => cancel
                .run_until_cancelled(ask(error, ui))
                .await
                .unwrap_or(false),
        };
        if keep {
            ui.warn(&format!("the build failed: {error}"));
            ui.warn(&format!(
                "the machine is kept; log in with: {}",
                machine.login()
            ));
            ui.warn("end it with Ctrl-C");
            cancel.cancelled().await;
        }
    }
}

async fn ask(error: &str, ui: &Ui) -> bool {
    if !std::io::stdin().is_terminal() {
        ui.warn("`--on-error ask` needs a terminal to ask on; cleaning up");
        return false;
    }
    ui.warn(&format!("the build failed: {error}"));
    ui.warn("keep the machine to look at it? [y/N]");
    let mut answer = String::new();
    let read = BufReader::new(tokio::io::stdin())
        .read_line(&mut answer)
        .await;
    read.is_ok() && answer.trim().eq_ignore_ascii_case("y")
}
