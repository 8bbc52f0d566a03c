//! Changes a machine over SSH: packages, files, then the steps in their order. One provisioner, one file.
//!
//! Every future here may be dropped at any time: what still runs in the machine ends with its connection.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::digest::Digest;
use crate::machine::Machine;
use crate::network::Seal;
use crate::plan::{Action, Script, Shell, Step, Test};
use crate::secret::{Secrets, Text};
use crate::time::Timestamp;
use crate::ui::Ui;
use crate::ui::text::with_causes;

mod download;
mod error;
mod file;
mod packages;
mod pause;
mod reboot;
mod remote;
mod retry;
mod shell;

pub use error::{ProvisionError, Tail};
pub use file::files;
pub use packages::{
    Asked, Installed, Origin, Package, PackageError, Pin, attribute, install, installed_packages,
    resolve,
};
pub use shell::check as check_script;

/// How long the machine may take to answer again before a further try or `on_error`.
const RECONNECT: Duration = Duration::from_secs(30);

/// What provisioners need besides the machine.
pub struct Context<'a> {
    /// Values of the template's variables.
    pub variables: &'a BTreeMap<String, String>,
    /// Values of its secrets.
    pub secrets: &'a Secrets,
    /// The user's screen.
    pub ui: &'a Ui,
    /// What time it is for programs that ask (`SOURCE_DATE_EPOCH`).
    pub epoch: Option<Timestamp>,
    /// Where the download with this digest lies.
    pub fetched: &'a dyn Fn(&Digest) -> PathBuf,
}

impl Context<'_> {
    /// What makes programs write the same twice: the day and the seed of hashes that they see.
    fn steady(&self) -> Vec<(&'static str, String)> {
        let epoch = self
            .epoch
            .map(|epoch| ("SOURCE_DATE_EPOCH", epoch.seconds().to_string()));
        let seed = ("PYTHONHASHSEED", "0".to_owned());
        epoch.into_iter().chain([seed]).collect()
    }
}

/// A step that failed, for `on_error`.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Name of the step, or of the phase.
    pub step: &'a str,
    /// Its error, with its causes, without secrets.
    pub error: &'a str,
}

/// Runs one step, and again as often as its `retries` allow.
///
/// # Errors
/// [`ProvisionError::Step`] with the error of the last try. A machine that dies ends the step at once.
pub async fn step<M: Machine>(
    machine: &mut M,
    step: &Step,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    tried(machine, step, &[], AfterRefusal::Fail, cx).await
}

/// What becomes of a step that came to its end though something that it asked for was refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterRefusal {
    /// It fails, unless the template says otherwise.
    Fail,
    /// Nothing.
    GoOn,
}

/// Runs the steps for a build that has failed, each with `KARAT_ERROR` and `KARAT_FAILED_STEP` in its environment.
///
/// What fails here is a warning: the first error is the one that the user must see.
pub async fn on_error<M: Machine>(
    machine: &mut M,
    steps: &[Step],
    failure: Failure<'_>,
    cx: &Context<'_>,
) {
    let more = [
        ("KARAT_ERROR", failure.error),
        ("KARAT_FAILED_STEP", failure.step),
    ];
    for step in steps {
        if let Err(error) = reopen(machine).await {
            cx.ui.warn(&format!(
                "the steps of on_error could not run: {}",
                with_causes(&error)
            ));
            return;
        }
        if let Err(error) = tried(machine, step, &more, AfterRefusal::GoOn, cx).await {
            cx.ui.warn(&format!("in on_error: {}", with_causes(&error)));
        }
    }
}

/// Runs one `[[test]]` command, as root with `/bin/sh -eu`.
///
/// # Errors
/// As [`step`].
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
    };
    // A test may well be that something cannot be reached.
    tried(machine, &one, &[], AfterRefusal::GoOn, cx).await
}

async fn tried<M: Machine>(
    machine: &mut M,
    step: &Step,
    more: &[(&str, &str)],
    refusal: AfterRefusal,
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
            let before = machine.seal().map_or(0, Seal::refusals);
            let result = once(machine, step, more, cx).await;
            judged(result, machine.seal(), before, refusal)
        },
        |tries, error: &ProvisionError| {
            let again = !error.is_final();
            if again {
                let of = step.retries + 1;
                cx.ui.warn(&format!(
                    "{}: try {tries} of {of} failed: {}",
                    step.name,
                    with_causes(error)
                ));
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

/// A step's result in the light of what was refused to it.
fn judged(
    result: Result<(), ProvisionError>,
    seal: Option<&Seal>,
    before: usize,
    refusal: AfterRefusal,
) -> Result<(), ProvisionError> {
    let Some(seal) = seal else { return result };
    let sentences = seal.refused_since(before);
    let passes = refusal == AfterRefusal::GoOn || !seal.is_strict();
    if sentences.is_empty() || result.is_ok() && passes {
        return result;
    }
    Err(ProvisionError::Refused {
        sentences,
        source: result.err().map(Box::new),
    })
}

async fn once<M: Machine>(
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
        // These two see to their time limit themselves.
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
            pause::run(*length).await;
            Ok(())
        }
    }
}

/// Connects anew when a try before this one lost the connection.
async fn reopen<M: Machine>(machine: &mut M) -> Result<(), ProvisionError> {
    if machine.session().is_open() {
        Ok(())
    } else {
        Ok(machine.reconnect(RECONNECT).await?)
    }
}
