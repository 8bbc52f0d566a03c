//! The command line: arguments, signals, one exit path.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::shared::logged;
use super::shared::stdout::Stdout;
use super::shared::store_args::StoreArgs;
use super::shared::syslog_forward;
use super::{
    CommandError, attest, audit, build, completions, db, diff, doctor, export, help, history,
    iam_policy, import, init, keys, lineage, list, lock, logs, man, outdated, pin, plan, promote,
    prune, publish, rebuild, remove, revoke, rollback, run, scan, schema, show, sign, ssh, store,
    synonyms, validate, verify, version, wait,
};
use crate::ui::ci::Ci;
use crate::ui::report::Report;
use crate::ui::{Mode, Ui, Verbosity};

/// Heading of the options that all verbs have.
pub(super) const GLOBAL: &str = "Global options";

/// Exit code of a verb that a signal has ended.
const CANCELLED: u8 = 130;
/// Idle time after which a thread for blocking work ends. glibc gives the memory that it has freed to the next thread; one that
/// stays keeps it, and the next thread takes as much from the system again.
const THREAD_KEEP_ALIVE: Duration = Duration::from_millis(1);

/// Build reproducible, verifiable machine images
#[derive(Parser)]
#[command(name = "karat", bin_name = "karat", version = version::SHORT.as_str())]
struct Cli {
    /// Print only warnings and errors on stderr
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = GLOBAL, hide_short_help = true)]
    quiet: bool,

    /// Print more detail on stderr
    #[arg(long, short, global = true, overrides_with = "verbose", help_heading = GLOBAL, hide_short_help = true)]
    verbose: bool,

    /// Format of the log on stderr: text, or one JSON object per line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", help_heading = GLOBAL, hide_short_help = true)]
    log_format: LogFormat,

    #[command(flatten)]
    forward: syslog_forward::ForwardArgs,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    Init(init::InitArgs),
    Doctor(doctor::DoctorArgs),
    Validate(validate::ValidateArgs),
    Schema(schema::SchemaArgs),
    Plan(plan::PlanArgs),
    Lock(lock::LockArgs),
    Build(build::BuildArgs),
    Rebuild(rebuild::RebuildArgs),
    Logs(logs::LogsArgs),
    Run(run::RunArgs),
    Ssh(ssh::SshArgs),
    Scan(scan::ScanArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Diff(diff::DiffArgs),
    Outdated(outdated::OutdatedArgs),
    Publish(publish::PublishArgs),
    IamPolicy(iam_policy::IamPolicyArgs),
    Promote(promote::PromoteArgs),
    Rollback(rollback::RollbackArgs),
    History(history::HistoryArgs),
    Wait(wait::WaitArgs),
    Revoke(revoke::RevokeArgs),
    #[command(hide = true)]
    Children(lineage::ChildrenArgs),
    #[command(hide = true)]
    Parents(lineage::ParentsArgs),
    Verify(verify::VerifyArgs),
    Sign(sign::SignArgs),
    Attest(attest::AttestArgs),
    Audit(audit::AuditArgs),
    Keys(keys::KeysArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Remove(remove::RemoveArgs),
    Prune(prune::PruneArgs),
    Store(store::StoreVerbArgs),
    Db(db::DbArgs),
    Version(version::VersionArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Verb {
    /// Returns the store that the verb may change, so that its audit log is forwarded afterwards.
    fn changed_store(&self) -> Option<&StoreArgs> {
        match self {
            Self::Build(args) => Some(&args.store),
            Self::Scan(args) => Some(&args.store),
            Self::Publish(args) => Some(&args.store),
            Self::Promote(args) => Some(&args.channel_move.store),
            Self::Rollback(args) => Some(&args.channel_move.store),
            Self::Revoke(args) => Some(&args.store),
            Self::Sign(args) => Some(&args.store),
            Self::Attest(args) => Some(&args.store),
            Self::Import(args) => Some(&args.store),
            Self::Pin(args) => Some(&args.store),
            Self::Unpin(args) => Some(&args.store),
            Self::Remove(args) => Some(&args.store),
            Self::Prune(args) => Some(&args.store),
            Self::Audit(args) => Some(args.store()),
            _ => None,
        }
    }
}

/// Runs the verb that the command line names. The only place that prints an error or picks the exit code. `commit` is what
/// karat was built from.
#[must_use]
pub fn main(commit: Option<&'static str>) -> ExitCode {
    version::set_commit(commit);
    if completions::answer(command) {
        return ExitCode::SUCCESS;
    }
    let arguments = synonyms::with_double_dashes(&command(), std::env::args_os());
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let ui = cli.ui();
    let code = run_and_forward(&cli, &ui).unwrap_or_else(|error| {
        logged::show(&error, &ui);
        error.exit_code()
    });
    ui.exit(code);
    ExitCode::from(code)
}

/// Prints an error of the command line: as an event if the command line asks for them. Help and version are no errors.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_json = arguments
        .windows(2)
        .any(|pair| pair[0] == "--log-format" && pair[1] == "json")
        || arguments
            .iter()
            .any(|argument| argument == "--log-format=json");
    if !is_json || !error.use_stderr() {
        error.exit()
    }
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    let ui = Ui::new(Mode::Json, Verbosity::Normal);
    ui.error_of(&report_of(&error.to_string()));
    ui.exit(code);
    ExitCode::from(code)
}

/// Splits the text of an error of the command line into message and advice, and drops the usage line.
fn report_of(text: &str) -> Report {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let starts = [
        "\n  help: ",
        "\n  tip: ",
        "\nUsage: ",
        "\nFor more information",
    ];
    let end = starts.iter().filter_map(|start| text.find(start)).min();
    let (text, rest) = text.split_at(end.unwrap_or(text.len()));
    let advice = rest.lines().filter_map(|line| {
        let line = line.trim();
        line.strip_prefix("help: ").or(line.strip_prefix("tip: "))
    });
    let advice: Vec<&str> = advice.collect();
    Report {
        text: text.trim_end().to_owned(),
        help: (!advice.is_empty()).then(|| advice.join("; ")),
        ..Report::default()
    }
}

/// Returns true if stderr may have colours: `NO_COLOR` forbids them, `CLICOLOR_FORCE` and `FORCE_COLOR` ask for them.
fn is_colored() -> bool {
    let is_set = |name| {
        let value = std::env::var_os(name);
        value.is_some_and(|value| !value.is_empty() && value != "0")
    };
    let is_forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_forbidden
        && (io::stderr().is_terminal() || is_set("CLICOLOR_FORCE") || is_set("FORCE_COLOR"))
}

/// Parses the command line. The error is a message, or the help that was asked for.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let error = match command().try_get_matches_from(arguments) {
        Ok(matches) => return Cli::from_arg_matches(&matches),
        Err(error) => error,
    };
    if !error.use_stderr() {
        return Err(error);
    }
    // clap takes options that the environment sets for given: the usage line would show them as required.
    let plain = help::without_environment(command()).try_get_matches_from(arguments);
    Err(match plain {
        Err(plain) => synonyms::explain(&command(), plain),
        Ok(_) => synonyms::explain_variable(&command(), error),
    })
}

/// Returns the command line with the layout of its help.
pub(super) fn command() -> Command {
    help::with_layout(Cli::command())
}

/// Runs the verb, then forwards the audit log of the store that it may have changed, even when it failed half-way.
fn run_and_forward(cli: &Cli, ui: &Ui) -> Result<u8, CommandError> {
    let server = cli.forward.server()?;
    let outcome = run(&cli.verb, ui, &mut Stdout::lock());
    let (Some(server), Some(store)) = (server, cli.verb.changed_store()) else {
        return outcome;
    };
    let cancel = &CancellationToken::new();
    match until_signal(ui, cancel, syslog_forward::run(store, &server)) {
        // Forwarding is what `audit` was run for. Other verbs have done their work, and the next run sends the lines.
        sent if matches!(cli.verb, Verb::Audit(_)) => outcome.and(sent),
        Err(error) => {
            ui.warn(&error.to_string());
            outcome
        }
        Ok(_) => outcome,
    }
}

fn run(verb: &Verb, ui: &Ui, out: &mut Stdout) -> Result<u8, CommandError> {
    let cancel = &CancellationToken::new();
    let success = |()| 0;
    match verb {
        Verb::Init(args) => init::run(args, out).map(success),
        Verb::Doctor(args) => until_signal(ui, cancel, doctor::run(args, out)),
        Verb::Validate(args) => validate::run(args, ui, out).map(success),
        Verb::Schema(args) => schema::run(args, out).map(success),
        Verb::Plan(args) => plan::run(args, ui, out).map(success),
        Verb::Lock(args) => with_signals(ui, cancel, lock::run(args, ui, cancel, out)),
        Verb::Build(args) => with_signals(ui, cancel, build::run(args, ui, cancel, out)),
        Verb::Rebuild(args) => with_signals(ui, cancel, rebuild::run(args, ui, cancel, out)),
        Verb::Logs(args) => logs::run(args, ui, out).map(success),
        Verb::Run(args) => with_signals(ui, cancel, run::run(args, ui, cancel, out)),
        Verb::Ssh(args) => ssh::run(args).map(success),
        Verb::Scan(args) => with_signals(ui, cancel, scan::run(args, ui, cancel, out)),
        Verb::List(args) => list::run(args, ui, out).map(success),
        Verb::Show(args) => show::run(args, out).map(success),
        Verb::Diff(args) => until_signal(ui, cancel, diff::run(args, out)),
        Verb::Outdated(args) => until_signal(ui, cancel, outdated::run(args, ui, out)),
        Verb::Publish(args) => with_signals(ui, cancel, publish::run(args, ui, cancel, out)),
        Verb::IamPolicy(args) => iam_policy::run(args, out).map(success),
        Verb::Promote(args) => with_signals(ui, cancel, promote::run(args, ui, cancel, out)),
        Verb::Rollback(args) => with_signals(ui, cancel, rollback::run(args, ui, cancel, out)),
        Verb::History(args) => history::run(args, ui, out).map(success),
        Verb::Wait(args) => until_signal(ui, cancel, wait::run(args, ui, out)),
        Verb::Revoke(args) => until_signal(ui, cancel, revoke::run(args, ui, out)),
        Verb::Children(args) => lineage::children(args, ui, out).map(success),
        Verb::Parents(args) => lineage::parents(args, ui, out).map(success),
        Verb::Verify(args) => until_signal(ui, cancel, verify::run(args, ui, out)),
        Verb::Sign(args) => until_signal(ui, cancel, sign::run(args, ui, out)),
        Verb::Attest(args) => until_signal(ui, cancel, attest::run(args, ui)),
        Verb::Audit(args) => until_signal(ui, cancel, audit::run(args, ui, out)),
        Verb::Keys(args) => keys::run(args, ui, out).map(success),
        Verb::Export(args) => until_signal(ui, cancel, export::run(args, ui, out)),
        Verb::Import(args) => until_signal(ui, cancel, import::run(args, ui, out)),
        Verb::Pin(args) => until_signal(ui, cancel, pin::pin(args, ui, out)),
        Verb::Unpin(args) => until_signal(ui, cancel, pin::unpin(args, ui, out)),
        Verb::Remove(args) => until_signal(ui, cancel, remove::run(args, ui, out)),
        Verb::Prune(args) => until_signal(ui, cancel, prune::run(args, ui, out)),
        Verb::Store(args) => store::run(args, out).map(success),
        Verb::Db(args) => until_signal(ui, cancel, db::run(args, ui, out)),
        Verb::Version(args) => version::run(args, out).map(success),
        Verb::Completions(args) => completions::run(args, command(), out).map(success),
        Verb::Man(args) => man::run(args, command(), out).map(success),
    }
}

impl Cli {
    fn ui(&self) -> Ui {
        let color = is_colored();
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let mode = match self.log_format {
            LogFormat::Json => Mode::Json,
            LogFormat::Text if io::stderr().is_terminal() => Mode::Terminal { color },
            LogFormat::Text => Mode::Plain {
                color,
                ci: Ci::of_environment(),
            },
        };
        Ui::new(mode, verbosity)
    }
}

/// Exit code of a verb that has succeeded: 0, or the one that it returns.
trait Success {
    fn code(self) -> u8;
}

impl Success for () {
    fn code(self) -> u8 {
        0
    }
}

impl Success for u8 {
    fn code(self) -> u8 {
        self
    }
}

/// Runs work that may be dropped at any point. The first signal drops it.
fn until_signal<T: Success>(
    ui: &Ui,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, CommandError>>,
) -> Result<u8, CommandError> {
    with_signals(ui, cancel, async {
        let done = cancel.run_until_cancelled(work).await;
        done.map_or(Ok(CANCELLED), |done| done.map(Success::code))
    })
}

/// Runs work on this thread, so that children which die with their parent's thread die with karat. The first signal
/// cancels the work; the second drops it, and with it every process and file that it owns.
fn with_signals<T: Success>(
    ui: &Ui,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, CommandError>>,
) -> Result<u8, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .map_err(|error| CommandError::io("cannot start the async runtime", &error))?;
    let code = runtime.block_on(async {
        let mut signals =
            signals().map_err(|error| CommandError::io("cannot listen for signals", &error))?;
        tokio::pin!(work);
        for notice in ["cancelling; repeat to stop immediately", "stopped"] {
            tokio::select! {
                done = &mut work => return done.map(Success::code),
                () = next(&mut signals) => {
                    cancel.cancel();
                    ui.note(notice);
                }
            }
        }
        Ok(CANCELLED)
    });
    // A hash that still runs on another thread must not keep the process alive.
    runtime.shutdown_background();
    code
}

fn signals() -> io::Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ])
}

async fn next(signals: &mut [Signal; 3]) {
    let [interrupt, terminate, hangup] = signals;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
