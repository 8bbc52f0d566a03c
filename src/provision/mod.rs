//! Changes a machine over SSH: packages, files, then the steps in order. One provisioner, one file.
//!
//! Every future here may be dropped at any time: commands in the machine end with the connection.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::digest::Digest;
use crate::machine::Machine;
use crate::network::EgressProxy;
use crate::plan::{Action, Script, Shell, Step, Test};
use crate::secret::{Secrets, Text};
use crate::time::Timestamp;
use crate::ui::report::split_output;
use crate::ui::text::with_causes;
use crate::ui::{Part, Ui};

mod download;
mod error;
mod failed_line;
mod file;
mod packages;
mod reboot;
mod remote;
mod retry;
mod shell;

pub use crate::ui::report::Tail;
pub use error::{FailedLine, ProvisionError};
pub use file::files;
pub use packages::{
    DeclaredPackages, InstalledPackage, PackageError, PinnedVersion, attribute, install,
    installed_packages, resolve,
};

/// Limit for reconnecting before a retry or `on_error`.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Inputs of provisioners besides the machine.
pub struct Context<'a> {
    /// Values of the template's variables.
    pub variables: &'a BTreeMap<String, String>,
    /// Values of the template's secrets.
    pub secrets: &'a Secrets,
    /// Terminal output and progress bars.
    pub ui: &'a Ui,
    /// Value of `SOURCE_DATE_EPOCH` in the guest.
    pub epoch: Option<Timestamp>,
    /// Returns the path of the fetched file with this digest.
    pub fetched: &'a dyn Fn(&Digest) -> PathBuf,
}

impl Context<'_> {
    /// Environment that makes programs reproducible: a fixed date and hash seed.
    fn reproducible_environment(&self) -> Vec<(&'static str, String)> {
        let epoch = self
            .epoch
            .map(|epoch| ("SOURCE_DATE_EPOCH", epoch.seconds().to_string()));
        let seed = ("PYTHONHASHSEED", "0".to_owned());
        epoch.into_iter().chain([seed]).collect()
    }
}

/// A failed step, as reported to `on_error`.
#[derive(Clone, Copy, Debug)]
pub struct FailedStep<'a> {
    /// Name of the failed step or phase.
    pub step: &'a str,
    /// Error message with its causes, without secrets.
    pub error: &'a str,
}

/// Runs one step, with as many retries as it allows.
///
/// # Errors
/// Returns [`ProvisionError::Step`] with the error of the last try. The death of the machine ends the step at once.
pub async fn step<M: Machine>(
    machine: &mut M,
    step: &Step,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    run_with_retries(machine, step, &[], OnRefusal::Fail, cx).await
}

/// Effect of refused requests on a step that succeeded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    /// The step fails, unless the template says `on_refused = "warn"`.
    Fail,
    Ignore,
}

/// Runs the `on_error` steps of a failed build, with `KARAT_ERROR` and `KARAT_FAILED_STEP` in their environment.
///
/// Failures here are only warnings, so that the user sees the error of the build.
pub async fn on_error<M: Machine>(
    machine: &mut M,
    steps: &[Step],
    failure: FailedStep<'_>,
    cx: &Context<'_>,
) {
    let more = [
        ("KARAT_ERROR", failure.error),
        ("KARAT_FAILED_STEP", failure.step),
    ];
    for (part, step) in Part::numbered("on_error", steps) {
        if let Err(error) = reopen(machine).await {
            cx.ui.warn(&format!(
                "cannot run the on_error steps: {}",
                with_causes(&error)
            ));
            return;
        }
        let phase = cx.ui.numbered_phase(&step.name, Some(part));
        match run_with_retries(machine, step, &more, OnRefusal::Ignore, cx).await {
            Ok(()) => drop(phase.done()),
            // Dropping the phase marks it as failed.
            Err(error) => {
                drop(phase);
                cx.ui
                    .warn(&format!("on_error: {}", split_output(&error, ": ").0));
            }
        }
    }
}

/// Runs one `[[test]]` command as root with `/bin/sh -eu`.
///
/// # Errors
/// Fails like [`step`].
pub async fn test<M: Machine>(
    machine: &mut M,
    test: &Test,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let shell = Shell {
        script: Script::Inline(vec![Text::literal(&test.command)]),
        environment: BTreeMap::new(),
        working_directory: None,
        user: "root".to_owned(),
        exit_codes: vec![0],
        expect_disconnect: false,
    };
    let one = Step {
        name: test.name.clone(),
        action: Action::Shell(shell),
        timeout: test.timeout,
        retries: 0,
        pause_before: Duration::ZERO,
        creates: Vec::new(),
        place: test.place.clone(),
    };
    // A test may check that a URL cannot be reached.
    run_with_retries(machine, &one, &[], OnRefusal::Ignore, cx).await
}

async fn run_with_retries<M: Machine>(
    machine: &mut M,
    step: &Step,
    more: &[(&str, &str)],
    refusal: OnRefusal,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let mut death = machine.death();
    let mut first = true;
    let work = retry::retry(
        step.retries,
        step.pause_before,
        async || {
            if !std::mem::take(&mut first) {
                reopen(machine).await?;
            }
            let before = machine.egress().map_or(0, EgressProxy::refusals);
            let result = run_once(machine, step, more, cx).await;
            check_refusals(result, machine.egress(), before, refusal)
        },
        |tries, error: &ProvisionError| {
            let again = !error.is_final();
            if again {
                let of = step.retries + 1;
                let (why, _) = split_output(error, ": ");
                let text = format!("{}: try {tries} of {of} failed: {why}", step.name);
                cx.ui.retry(&text);
            }
            again
        },
    );
    tokio::select! {
        biased;
        report = death.wait() => Err(ProvisionError::Died(report).of_step(&step.name, 1)),
        result = work => result.map_err(|(tries, error)| error.of_step(&step.name, tries)),
    }
}

/// Turns the result of a step into an error if requests were refused.
fn check_refusals(
    result: Result<(), ProvisionError>,
    egress: Option<&EgressProxy>,
    before: usize,
    refusal: OnRefusal,
) -> Result<(), ProvisionError> {
    let Some(egress) = egress else { return result };
    let sentences = egress.refused_since(before);
    let passes = refusal == OnRefusal::Ignore || !egress.is_strict();
    if sentences.is_empty() || result.is_ok() && passes {
        return result;
    }
    Err(ProvisionError::Refused {
        sentences,
        source: result.err().map(Box::new),
    })
}

async fn run_once<M: Machine>(
    machine: &mut M,
    step: &Step,
    more: &[(&str, &str)],
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let late = |_| ProvisionError::Timeout {
        after: step.timeout,
        output: None,
    };
    match &step.action {
        // These two enforce their time limit themselves.
        Action::Shell(shell) => shell::run(machine, step, shell, more, cx).await,
        Action::Reboot => reboot::run(machine, step.timeout, cx).await,
        Action::File(upload) => {
            let work = files(machine, std::slice::from_ref(upload), cx);
            timeout(step.timeout, work).await.map_err(late)?
        }
        Action::Download(download) => timeout(step.timeout, download::run(machine, download, cx))
            .await
            .map_err(late)?,
        Action::Pause(length) => {
            sleep(*length).await;
            Ok(())
        }
    }
}

/// Reconnects if an earlier try lost the connection.
async fn reopen<M: Machine>(machine: &mut M) -> Result<(), ProvisionError> {
    if machine.session().is_open() {
        Ok(())
    } else {
        Ok(machine.reconnect(RECONNECT_TIMEOUT).await?)
    }
}
