//! Arguments, signals, one printer, the exit code.

use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use karat::commands::{
    Failed, Invalid, build, completions, db, diff, export, history, init, keys, list, lock,
    moving::MoveError, outdated, plan, promote, prune, rebuild, rollback, scan, show, sign,
    stored::StoredError, validate, verify,
};
use karat::ui::{Mode, Ui, Verbosity};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Build golden machine images whose purity can be proved
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Say only what went wrong
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,

    /// Say every detail
    #[arg(long, short, global = true)]
    verbose: bool,

    /// Log for people, or one JSON object a line
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,

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
    Validate(validate::ValidateArgs),
    Plan(plan::PlanArgs),
    Lock(lock::LockArgs),
    Build(build::BuildArgs),
    Rebuild(rebuild::RebuildArgs),
    Scan(scan::ScanArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Diff(diff::DiffArgs),
    Outdated(outdated::OutdatedArgs),
    Promote(promote::PromoteArgs),
    Rollback(rollback::RollbackArgs),
    History(history::HistoryArgs),
    Verify(verify::VerifyArgs),
    Sign(sign::SignArgs),
    Keys(keys::KeysArgs),
    Export(export::ExportArgs),
    Prune(prune::PruneArgs),
    Db(db::DbArgs),
    Completions(completions::CompletionsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match run(&cli, &screen(&cli, color)) {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            if let Some(text) = failed.render(color) {
                let _ = writeln!(io::stderr(), "{text}");
            }
            ExitCode::from(failed.code())
        }
    }
}

fn run(cli: &Cli, ui: &Ui) -> Result<u8, Failed> {
    let out = &mut io::stdout().lock();
    match &cli.verb {
        Verb::Init(args) => {
            init::run(args, out).map_err(|error| Failed::with(error.exit_code(), error))?;
        }
        Verb::Validate(args) => checked(validate::run(args, out))?,
        Verb::Plan(args) => plan::run(args, out)?,
        Verb::Lock(args) => {
            return with_signals(async |cancel| lock::run(args, ui, cancel, out).await);
        }
        Verb::Build(args) => {
            return with_signals(async |cancel| build::run(args, ui, cancel, out).await);
        }
        Verb::Rebuild(args) => {
            return with_signals(async |cancel| rebuild::run(args, ui, cancel, out).await);
        }
        Verb::Scan(args) => {
            return with_signals(async |cancel| scan::run(args, ui, cancel, out).await);
        }
        Verb::List(args) => list::run(args, out).map_err(stored)?,
        Verb::Show(args) => show::run(args, out).map_err(stored)?,
        Verb::Diff(args) => {
            return with_signals(async |cancel| {
                let done = cancel.run_until_cancelled(diff::run(args, out)).await;
                done.unwrap_or(Ok(130))
            });
        }
        Verb::Outdated(args) => return until_signal(outdated::run(args, ui, out), |it| it),
        Verb::Promote(args) => return until_signal(promote::run(args, ui, out), moved),
        Verb::Rollback(args) => return until_signal(rollback::run(args, ui, out), moved),
        Verb::History(args) => history::run(args, out).map_err(stored)?,
        Verb::Verify(args) => {
            return until_signal(verify::run(args, ui, out), |error| {
                Failed::with(error.exit_code(), error)
            });
        }
        Verb::Sign(args) => {
            return until_signal(sign::run(args, ui), |error| {
                Failed::with(error.exit_code(), error)
            });
        }
        Verb::Keys(args) => {
            keys::run(args, ui, out).map_err(|error| Failed::with(error.exit_code(), error))?;
        }
        Verb::Export(args) => return until_signal(export::run(args, ui), stored),
        Verb::Prune(args) => prune::run(args, ui, out)?,
        Verb::Db(args) => {
            return with_signals(async |cancel| db::run(args, ui, cancel, out).await);
        }
        Verb::Completions(args) => completions::run(args, Cli::command(), out)?,
    }
    Ok(0)
}

fn moved(error: MoveError) -> Failed {
    Failed::with(error.exit_code(), error)
}

fn screen(cli: &Cli, color: bool) -> Ui {
    let verbosity = match (cli.quiet, cli.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let mode = match cli.log_format {
        LogFormat::Json => Mode::Json,
        LogFormat::Text if io::stderr().is_terminal() => Mode::Terminal { color },
        LogFormat::Text => Mode::Plain,
    };
    Ui::new(mode, verbosity)
}

/// Runs what stops well wherever it is: at the first signal it is dropped.
fn until_signal<E>(
    work: impl Future<Output = Result<(), E>>,
    failed: impl FnOnce(E) -> Failed,
) -> Result<u8, Failed> {
    with_signals(async |cancel| {
        let done = cancel.run_until_cancelled(work).await;
        done.map_or(Ok(130), |done| done.map(|()| 0).map_err(failed))
    })
}

/// Runs on this one thread, so that children which die with their parent's thread die with karat. The first signal asks
/// the work to end in order; the second drops it, and with it every process and file that it owns.
fn with_signals(
    work: impl AsyncFnOnce(&CancellationToken) -> Result<u8, Failed>,
) -> Result<u8, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failed::io("cannot start the runtime", error))?;
    let code = runtime.block_on(async {
        let mut signals = signals().map_err(|error| Failed::io("cannot listen for signals", error))?;
        let cancel = CancellationToken::new();
        let work = work(&cancel);
        tokio::pin!(work);
        for first in [true, false] {
            tokio::select! {
                code = &mut work => return code,
                () = next(&mut signals) => {
                    cancel.cancel();
                    let _ = writeln!(io::stderr(), "{}", if first { "cancelling; once more to end at once" } else { "ended" });
                }
            }
        }
        Ok(130)
    });
    // A hash that still runs on another thread must not keep the process.
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

fn stored(error: StoredError) -> Failed {
    Failed::with(error.exit_code(), error)
}

fn checked(result: io::Result<Result<(), Invalid>>) -> Result<(), Failed> {
    Ok(result.map_err(Failed::stdout)??)
}
