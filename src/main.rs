//! Arguments, signals, one printer, the exit code.

use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use karat::cli::shared::channel_move::MoveError;
use karat::cli::shared::store_args::{StoreArgs, StoredError};
use karat::cli::shared::syslog_forward;
use karat::cli::{
    Failed, Invalid, attest, audit, build, completions, db, diff, export, history, iam_policy,
    import, init, keys, lineage, list, lock, outdated, pin, plan, promote, prune, publish, rebuild,
    revoke, rollback, scan, show, sign, store, validate, verify, wait,
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
    Publish(publish::PublishArgs),
    IamPolicy(iam_policy::IamPolicyArgs),
    Promote(promote::PromoteArgs),
    Rollback(rollback::RollbackArgs),
    History(history::HistoryArgs),
    Wait(wait::WaitArgs),
    Revoke(revoke::RevokeArgs),
    Children(lineage::ChildrenArgs),
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
    Prune(prune::PruneArgs),
    Store(store::StoreVerbArgs),
    Db(db::DbArgs),
    Completions(completions::CompletionsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let ui = screen(&cli, color);
    let ended = run(&cli, &ui);
    // Whatever was changed before it failed is in the log, too.
    let ended = match (store_of(&cli.verb), cli.forward.server()) {
        (Some(store), Ok(Some(server))) => {
            let sent = until_signal(syslog_forward::run(store, &server), Failed::new);
            match sent {
                // It is what this verb is asked for; for others, the change is made, and the lines are sent later.
                sent if matches!(cli.verb, Verb::Audit(_)) => ended.and(sent),
                Err(failed) => {
                    ui.warn(&failed.to_string());
                    ended
                }
                Ok(_) => ended,
            }
        }
        _ => ended,
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failed) => {
            if let Some(text) = failed.render(color) {
                let _ = writeln!(io::stderr(), "{text}");
            }
            ExitCode::from(failed.code())
        }
    }
}

/// The store that a verb may change.
fn store_of(verb: &Verb) -> Option<&StoreArgs> {
    match verb {
        Verb::Build(args) => Some(&args.store),
        Verb::Scan(args) => Some(&args.store),
        Verb::Publish(args) => Some(&args.store),
        Verb::Promote(args) => Some(&args.moving.store),
        Verb::Rollback(args) => Some(&args.moving.store),
        Verb::Revoke(args) => Some(&args.store),
        Verb::Sign(args) => Some(&args.store),
        Verb::Attest(args) => Some(&args.store),
        Verb::Import(args) => Some(&args.store),
        Verb::Pin(args) => Some(&args.store),
        Verb::Unpin(args) => Some(&args.store),
        Verb::Prune(args) => Some(&args.store),
        Verb::Audit(args) => Some(args.store()),
        _ => None,
    }
}

fn run(cli: &Cli, ui: &Ui) -> Result<u8, Failed> {
    // Said before anything is done.
    cli.forward
        .server()
        .map_err(|error| Failed::with(2, error))?;
    let out = &mut io::stdout().lock();
    match &cli.verb {
        Verb::Init(args) => {
            init::run(args, out).map_err(|error| Failed::with(error.exit_code(), error))?;
        }
        Verb::Validate(args) => checked(validate::run(args, out))?,
        Verb::Plan(args) => plan::run(args, out)?,
        Verb::IamPolicy(args) => iam_policy::run(args, out)?,
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
        Verb::Publish(args) => {
            return with_signals(async |cancel| publish::run(args, ui, cancel, out).await);
        }
        Verb::Promote(args) => {
            return with_signals(async |cancel| {
                let done = promote::run(args, ui, cancel, out).await;
                done.map(|()| 0).map_err(moved)
            });
        }
        Verb::Rollback(args) => {
            return with_signals(async |cancel| {
                let done = rollback::run(args, ui, cancel, out).await;
                done.map(|()| 0).map_err(moved)
            });
        }
        Verb::Wait(args) => return until_signal(wait::run(args, ui, out), moved),
        Verb::Import(args) => {
            return until_signal(import::run(args, ui, out), |error| {
                Failed::with(error.exit_code(), error)
            });
        }
        Verb::History(args) => history::run(args, out).map_err(stored)?,
        Verb::Revoke(args) => {
            return until_signal(revoke::run(args, ui, out), |error| {
                Failed::with(error.exit_code(), error)
            });
        }
        Verb::Children(args) => lineage::children(args, out).map_err(stored)?,
        Verb::Parents(args) => lineage::parents(args, out).map_err(stored)?,
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
        Verb::Attest(args) => {
            return until_signal(attest::run(args, ui), |error| {
                Failed::with(error.exit_code(), error)
            });
        }
        Verb::Audit(args) => {
            return until_signal(audit::run(args, ui, out), |error| {
                Failed::with(error.exit_code(), error)
            });
        }
        Verb::Keys(args) => {
            keys::run(args, ui, out).map_err(|error| Failed::with(error.exit_code(), error))?;
        }
        Verb::Export(args) => return until_signal(export::run(args, ui), stored),
        Verb::Pin(args) => return until_signal(pin::pin(args, ui), stored),
        Verb::Unpin(args) => return until_signal(pin::unpin(args, ui), stored),
        Verb::Prune(args) => return until_signal(prune::run(args, ui, out), |it| it),
        Verb::Store(args) => store::run(args, out).map_err(stored)?,
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
