//! Handling of a machine whose provisioning failed.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::{BuildError, Job};
use crate::digest::Digest;
use crate::machine::Machine;
use crate::plan::Builder;
use crate::provision::{self, FailedStep};
use crate::ui::Ui;
use crate::ui::report::split_output;
use crate::ui::text::with_causes;

impl Job<'_> {
    /// Runs the steps of `on_error`, holds the machine if the user wants that, destroys it, and returns the error.
    pub(super) async fn handle_failure<M: Machine>(
        &self,
        mut machine: M,
        mut error: BuildError,
    ) -> BuildError {
        if !matches!(error, BuildError::Cancelled) {
            let text = self.ui.redact(&with_causes(&error));
            let failure = FailedStep {
                step: error.step(),
                error: &text,
            };
            let fetched = |digest: &Digest| self.settings.cache.path(digest);
            let cx = self.step_context(&fetched);
            let steps = provision::on_error(&mut machine, &self.plan.on_error, failure, &cx);
            self.cancel
                .run_until_cancelled(async {
                    if !self.plan.on_error.is_empty() {
                        steps.await;
                    }
                })
                .await;
            let (brief, _) = split_output(&error, ": ");
            self.settings
                .on_error
                .hold(&machine, &brief, self.ui, self.cancel)
                .await;
            self.advise_keep(&mut error);
        }
        machine.destroy().await;
        error
    }

    /// Adds the advice to keep the machine, if that was not done. A host stays as it is anyway.
    fn advise_keep(&self, error: &mut BuildError) {
        let is_host = matches!(self.plan.builder, Builder::Host(_));
        if let BuildError::Provision(error) = error
            && self.settings.on_error == OnError::Cleanup
            && !is_host
        {
            error.advise("`--on-error keep` keeps the machine to log in");
        }
    }
}

/// Fate of a machine whose provisioning failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum OnError {
    /// Destroy the machine at once
    #[default]
    Cleanup,
    /// Keep it running, print how to log in, and destroy it on Ctrl-C
    Keep,
    /// Ask on the terminal
    Ask,
}

impl OnError {
    /// Waits until the machine may be destroyed.
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
                "the machine keeps running; log in with: {}",
                machine.login()
            ));
            ui.warn("destroy it with Ctrl-C");
            cancel.cancelled().await;
        }
    }
}

async fn ask(error: &str, ui: &Ui) -> bool {
    if !std::io::stdin().is_terminal() {
        ui.warn("`--on-error ask` needs a terminal; cleaning up");
        return false;
    }
    ui.warn(&format!("the build failed: {error}"));
    ui.warn("keep the machine running to inspect it? [y/N]");
    let mut answer = String::new();
    let read = BufReader::new(tokio::io::stdin())
        .read_line(&mut answer)
        .await;
    read.is_ok() && answer.trim().eq_ignore_ascii_case("y")
}
