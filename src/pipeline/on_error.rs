//! What happens to a machine whose provisioning failed.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::{BuildError, Job, error};
use crate::digest::Digest;
use crate::machine::Machine;
use crate::provision::{self, Failure};
use crate::ui::Ui;

impl Job<'_> {
    /// Runs the steps of `on_error`, then ends the machine or keeps it for the user; returns the error it was given.
    pub(super) async fn give_up<M: Machine>(
        &self,
        mut machine: M,
        error: BuildError,
    ) -> BuildError {
        if !matches!(error, BuildError::Cancelled) {
            let text = self.ui.redact(&error::with_causes(&error));
            let failure = Failure {
                step: error.step(),
                error: &text,
            };
            let fetched = |digest: &Digest| self.settings.cache.path(digest);
            let cx = self.context(&fetched);
            let steps = provision::on_error(&mut machine, &self.plan.on_error, failure, &cx);
            self.cancel
                .run_until_cancelled(async {
                    if !self.plan.on_error.is_empty() {
                        steps.await;
                    }
                })
                .await;
            self.settings
                .on_error
                .hold(&machine, &text, self.ui, self.cancel)
                .await;
        }
        machine.destroy().await;
        error
    }
}

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
