//! `karat doctor`

use std::fmt::Write as _;

use clap::Args;
use miette::Diagnostic;
use serde::Serialize;

use super::CommandError;
use super::db::DatabaseArgs;
use super::shared::key_args::{KeyArgs, TrustArgs};
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::base::bootstrap;
use crate::fetch::Cache;
use crate::plan::{Arch, Bootstrap};
use crate::ui::text::{counted, join_causes, terminal_safe};

mod archives;
mod host;
mod programs;
mod security;

/// Check that this host can build images, and say how to fix what it lacks
///
/// Checks programs, KVM, firmware, memory, disk space, package archives, clock, store, keys and vulnerability database. A build
/// of the template that `karat init` writes works if no check fails. Changes nothing.
///
/// Exit codes: 0 a build works (there may be warnings), 1 a check failed.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    database: DatabaseArgs,
}

/// Result of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// A build works, with a disadvantage.
    Warning,
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    state: State,
    text: String,
    /// Remedy; only if the state is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: State::Ok,
            text: text.into(),
            help: None,
        }
    }

    fn problem(
        state: State,
        name: impl Into<String>,
        text: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            state,
            text: text.into(),
            help: Some(help.into()),
        }
    }

    fn error(state: State, name: impl Into<String>, error: &impl Diagnostic) -> Self {
        Self {
            name: name.into(),
            state,
            text: join_causes(error, ": "),
            help: error.help().map(|help| help.to_string()),
        }
    }
}

/// State of something that only making a base needs: a failure, unless the default base is in the cache.
fn state_for_new_base(base: &Bootstrap, cache: &Cache) -> State {
    match bootstrap::path(base, cache.root()) {
        Ok(path) if path.is_file() => State::Warning,
        _ => State::Failed,
    }
}

/// Runs all checks and prints them. Returns the exit code.
pub(crate) async fn run(args: &DoctorArgs, out: &mut Stdout) -> Result<u8, CommandError> {
    let cache = Cache::of_user()?;
    let base = Bootstrap::default_for(Arch::of_host());
    let without_base = state_for_new_base(&base, &cache);
    let (mut checks, archives) = tokio::join!(
        programs::check(without_base),
        archives::check(&base, without_base)
    );
    checks.extend(host::check(args, &cache, without_base));
    checks.extend(archives);
    checks.extend(security::check(args));
    let failed = checks.iter().any(|check| check.state == State::Failed);
    let format = args.format.with_json_as(OutputFormat::Json);
    let report = Report {
        ok: !failed,
        checks: &checks,
    };
    out.document(format, &report, || text(&checks))?;
    Ok(u8::from(failed))
}

#[derive(Serialize)]
struct Report<'a> {
    /// A build works.
    ok: bool,
    checks: &'a [Check],
}

fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let (state, what) = (check.state.name(), terminal_safe(&check.text));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{state:7}  {:width$}  {what}", check.name);
        if let Some(help) = &check.help {
            let _ = writeln!(
                text,
                "{:7}  {:width$}  help: {}",
                "",
                "",
                terminal_safe(help)
            );
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (failed, warnings) = (count(State::Failed), count(State::Warning));
    let verdict = match (failed, warnings) {
        (0, 0) => "this host can build images".to_owned(),
        (0, warnings) => format!(
            "this host can build images; {}",
            counted(warnings, "warning")
        ),
        (failed, warnings) => format!(
            "this host cannot build images: {} failed, {}",
            counted(failed, "check"),
            counted(warnings, "warning")
        ),
    };
    text + "\n" + &verdict + "\n"
}
