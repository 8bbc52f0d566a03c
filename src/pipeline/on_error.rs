//! Handling of a machine whose provisioning or test failed.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{BuildError, Job};
use crate::digest::Digest;
use crate::machine::Machine;
use crate::os::run_dir::RunDir;
use crate::plan::Builder;
use crate::provision::{self, FailedStep};
use crate::ssh::ClientConfig;
use crate::ui::Ui;
use crate::ui::report::split_output;
use crate::ui::text::with_causes;

impl Job<'_> {
    /// Runs the steps of `on_error`, holds the machine if the user wants that, destroys it, and returns the error. `run` is the
    /// run directory of the build.
    pub(super) async fn handle_failure<M: Machine>(
        &self,
        mut machine: M,
        mut error: BuildError,
        run: &RunDir,
    ) -> BuildError {
        if !matches!(error, BuildError::Cancelled) && !self.plan.on_error.is_empty() {
            let text = self.ui.redact(&with_causes(&error));
            let failure = FailedStep {
                step: error.step(),
                error: &text,
            };
            let fetched = |digest: &Digest| self.settings.cache.path(digest);
            let cx = self.step_context(&fetched);
            let steps = provision::on_error(&mut machine, &self.plan.on_error, failure, &cx);
            self.cancel.run_until_cancelled(steps).await;
        }
        self.advise_keep(&mut error);
        self.hold(machine, error, run).await
    }

    /// Holds the machine if the user wants that, destroys it, and returns the error.
    pub(super) async fn hold<M: Machine>(
        &self,
        machine: M,
        error: BuildError,
        run: &RunDir,
    ) -> BuildError {
        if !matches!(error, BuildError::Cancelled) {
            let (brief, _) = split_output(&error, ": ");
            if self.keeps(&self.ui.redact(&brief)).await {
                self.show_login(&machine, run);
                let mut death = machine.death();
                tokio::select! {
                    () = self.cancel.cancelled() => {}
                    _ = death.wait() => self.ui.warn("the machine has ended"),
                }
            }
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

    /// Returns whether the user wants the machine to keep running after this error, which it shows.
    async fn keeps(&self, error: &str) -> bool {
        match self.settings.on_error {
            OnError::Cleanup => false,
            OnError::Keep => {
                self.ui.warn(&format!("the build failed: {error}"));
                true
            }
            OnError::Ask => {
                let asked = self.cancel.run_until_cancelled(ask(error, self.ui)).await;
                asked.unwrap_or(false)
            }
        }
    }

    /// Shows how to log in to a machine that keeps running, each command on a line of its own.
    fn show_login<M: Machine>(&self, machine: &M, run: &RunDir) {
        let name = &self.plan.image.name;
        match ClientConfig::write(machine.target(), name, run.path()) {
            Ok(config) => self.ui.warn(&format!(
                "the machine keeps running; log in with\n    karat ssh {}\n    {}\nCtrl-C ends the build and destroys its guest",
                run.id(),
                config.command_line()
            )),
            Err(error) => self.ui.warn(&format!(
                "the machine keeps running until Ctrl-C, but the files to log in cannot be written to {}: {error}",
                run.path().display()
            )),
        }
    }
}

/// Fate of a machine whose provisioning or test failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum OnError {
    /// Destroy the machine at once
    #[default]
    Cleanup,
    /// Keep it running, print how to log in (`karat ssh`), and destroy it on Ctrl-C
    Keep,
    /// Ask on the terminal
    Ask,
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
