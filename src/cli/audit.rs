//! `karat audit`

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use miette::Diagnostic;
use thiserror::Error;

use super::shared::attestation;
use super::shared::failure::chain;
use super::shared::key_args::{KeyArgs, NoConfiguration, TrustArgs};
use super::shared::signature_policy::{judge, who};
use super::shared::store_args::{StoreArgs, plain};
use super::sign::SigningError;
use crate::record::audit::{Line, Log, NAMESPACE, SignedCheckpoint};
use crate::record::manifest::ManifestId;
use crate::sign::{Signer, Trust, TrustError};
use crate::store::{self, Store, StoreError};
use crate::ui::Ui;

/// Show every change of the store: who, when, what and why, the last one last
///
/// The log only grows; each line carries the digest of the one before. Whenever somebody with a key changes something, a checkpoint
/// is signed that holds how many lines there are.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Debug, Args)]
struct ListArgs {
    /// Show the last so many lines only
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    /// Print the lines as they are: one JSON object each
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Verify(VerifyLogArgs),
    Checkpoint(CheckpointArgs),
}

/// Prove that no line of the log was changed, taken out or cut off, and that no channel has moved without one
#[derive(Clone, Debug, Args)]
struct VerifyLogArgs {
    /// Compare it with this checkpoint too, that was kept elsewhere
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Ask for no signature of the checkpoint
    #[arg(long)]
    unsigned: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// Sign how many lines there are now, and print that: kept elsewhere, it proves later that none was cut off
#[derive(Clone, Debug, Args)]
struct CheckpointArgs {
    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// Why the log was not shown, or does not hold.
#[derive(Debug, Error, Diagnostic)]
pub enum AuditVerbError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// Whose signatures count.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trust(#[from] TrustError),
    /// The place of keys.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoConfiguration(#[from] NoConfiguration),
    /// The key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signing(#[from] SigningError),
    /// A checkpoint cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("`karat audit checkpoint` prints one"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no line to sign.
    #[error("the store has no audit log yet")]
    #[diagnostic(help("it begins with the first change"))]
    Empty,
    /// Something is not as it should be.
    #[error("the audit log does not hold:\n{}", .0.join("\n"))]
    #[diagnostic(help("compare it with a backup, or with what was forwarded (`--audit-syslog`)"))]
    Broken(Vec<String>),
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl AuditVerbError {
    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Signing(error) => error.exit_code(),
            Self::Broken(_) => 4,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Read { .. } | Self::Output(_) => 1,
            Self::Trust(_) | Self::NoConfiguration(_) | Self::Empty => 2,
        }
    }
}

impl AuditArgs {
    /// Which store it is about.
    #[must_use]
    pub fn store(&self) -> &StoreArgs {
        match &self.verb {
            None => &self.list.store,
            Some(Verb::Verify(args)) => &args.store,
            Some(Verb::Checkpoint(args)) => &args.store,
        }
    }
}

/// Shows or proves the log, or signs how long it is.
///
/// # Errors
/// See [`AuditVerbError`].
pub async fn run(args: &AuditArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), AuditVerbError> {
    match &args.verb {
        None => list(&args.list, ui, out),
        Some(Verb::Verify(args)) => verify(args, out),
        Some(Verb::Checkpoint(args)) => checkpoint(args, out).await,
    }
}

fn list(args: &ListArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), AuditVerbError> {
    let log = args.store.open()?.audit()?;
    let skipped = args
        .last
        .map_or(0, |last| log.lines.len().saturating_sub(last));
    for (line, _) in &log.lines[skipped..] {
        if args.json {
            out.write_all(&line.to_bytes().map_err(StoreError::from)?)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", text(line))?;
        }
    }
    if log.torn {
        ui.note("the last line was never finished: its change did not happen");
    }
    Ok(out.flush()?)
}

fn text(line: &Line) -> String {
    let ids: Vec<_> = line.ids.iter().map(ManifestId::short).collect();
    let what = [&line.subject, &Some(ids.join(" ")), &line.reason];
    let what = what.into_iter().flatten().filter(|it| !it.is_empty());
    let what: Vec<_> = what.map(|it| plain(it)).collect();
    format!(
        "{:>5}  {}  {}@{}  {:8}  {}",
        line.number,
        line.at,
        plain(&line.actor),
        plain(&line.host),
        line.event.name(),
        what.join("  ")
    )
}

fn verify(args: &VerifyLogArgs, out: &mut dyn Write) -> Result<(), AuditVerbError> {
    let store = args.store.open()?;
    let trust = if args.unsigned {
        None
    } else {
        Some(args.trust.read(&args.trust.path()?)?)
    };
    let log = store.audit()?;
    let mut faults = against(&store, &log, trust.as_ref())?;
    if let Some(path) = &args.checkpoint {
        let bytes = fs::read(path).map_err(|source| AuditVerbError::Read {
            path: path.clone(),
            source,
        })?;
        let point = store::read_checkpoint(&bytes, path)?;
        let paths = [&store.audit_path(), path];
        faults.extend(against_checkpoint(&log, &point, paths, trust.as_ref()));
    }
    if !faults.is_empty() {
        return Err(AuditVerbError::Broken(faults));
    }
    writeln!(out, "{:12} {}", "lines", log.lines.len())?;
    let signed = store.checkpoint()?.map_or_else(
        || "none".to_owned(),
        |it| format!("{} lines on {}", it.checkpoint.number, it.checkpoint.at),
    );
    writeln!(out, "{:12} {signed}", "checkpoint")?;
    Ok(out.flush()?)
}

/// What speaks against a log: its checkpoint, and channels that have moved without a line.
pub(super) fn against(
    store: &Store,
    log: &Log,
    trust: Option<&Trust>,
) -> Result<Vec<String>, StoreError> {
    let mut faults = store.unlogged(log)?;
    if let Some(point) = store.checkpoint()? {
        let paths = [&store.audit_path(), &store.checkpoint_path()];
        faults.extend(against_checkpoint(log, &point, paths, trust));
    }
    Ok(faults)
}

fn against_checkpoint(
    log: &Log,
    point: &SignedCheckpoint,
    [of_log, of_point]: [&PathBuf; 2],
    trust: Option<&Trust>,
) -> Option<String> {
    if let Some(trust) = trust {
        let judged = match point.checkpoint.to_bytes() {
            Ok(bytes) => judge(trust, NAMESPACE, point.signature.as_bytes(), &bytes),
            Err(error) => return Some(chain(&error, ": ")),
        };
        if let Some(because) = &judged.because {
            let who = who(&judged);
            let path = of_point.display();
            return Some(format!("{path}, signed by {who}: {because}"));
        }
    }
    let contradiction = log.contradicts(&point.checkpoint)?;
    Some(format!("{}: {contradiction}", of_log.display()))
}

async fn checkpoint(args: &CheckpointArgs, out: &mut dyn Write) -> Result<(), AuditVerbError> {
    let store = args.store.open()?;
    let signer = args.key.path().map_err(SigningError::from)?;
    let signer = Signer::from_file(&signer).map_err(SigningError::from)?;
    // A log that does not hold is not signed.
    store.audit()?;
    let point = attestation::checkpoint(&signer, &store).await?;
    let point = point.ok_or(AuditVerbError::Empty)?;
    let line = serde_json::to_string(&point).map_err(io::Error::other)?;
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
