//! `karat audit`

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;

use super::shared::attestation;
use super::shared::key_args::{KeyArgs, TrustArgs};
use super::shared::signature_policy::judge;
use super::shared::stdout::{FormatArgs, OutputFormat, Rows, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExitStatus};
use crate::record::audit::{AuditLog, AuditRecord, NAMESPACE, SignedCheckpoint};
use crate::record::manifest::ManifestId;
use crate::sign::Trust;
use crate::store::{self, Store, StoreError};
use crate::ui::Ui;
use crate::ui::text::{terminal_safe, with_causes};

/// Show the audit log of the store
///
/// Lists every change with actor, time and reason, newest last. The log only grows; each line carries the digest of the one before. Every change with a key also signs a checkpoint, which
/// holds the number of lines. With --format jsonl, prints the lines as they are stored.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Debug, Args)]
struct ListArgs {
    /// Show the last N lines only
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Verify(VerifyLogArgs),
    Checkpoint(CheckpointArgs),
}

/// Verify the audit log
///
/// No line may be changed, removed or cut off, and no channel may have moved without a line.
#[derive(Clone, Debug, Args)]
struct VerifyLogArgs {
    /// Also compare the log with this checkpoint, which was kept elsewhere
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Do not verify the signature of the checkpoint
    #[arg(long)]
    unsigned: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// Sign and print a checkpoint of the audit log
///
/// Kept elsewhere, it proves later that no line was cut off.
#[derive(Clone, Debug, Args)]
struct CheckpointArgs {
    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Error, Diagnostic)]
enum AuditError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("`karat audit checkpoint` prints a checkpoint"))]
    Read { path: PathBuf, source: io::Error },
    #[error("the store has no audit log yet")]
    #[diagnostic(help("the first change of the store creates it"))]
    Empty,
    #[error("verification of the audit log failed:\n{}", .0.join("\n"))]
    #[diagnostic(help("compare it with a backup, or with the forwarded lines (`--audit-syslog`)"))]
    Faults(Vec<String>),
}

impl ExitStatus for AuditError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Empty => 2,
            Self::Faults(_) => 4,
        }
    }
}

impl AuditArgs {
    pub(crate) fn store(&self) -> &StoreArgs {
        match &self.verb {
            None => &self.list.store,
            Some(Verb::Verify(args)) => &args.store,
            Some(Verb::Checkpoint(args)) => &args.store,
        }
    }
}

pub(crate) async fn run(args: &AuditArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    match &args.verb {
        None => list(&args.list, ui, out),
        Some(Verb::Verify(args)) => verify(args, out),
        Some(Verb::Checkpoint(args)) => checkpoint(args, out).await,
    }
}

fn list(args: &ListArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let log = args.store.open()?.audit()?;
    let skipped = args
        .last
        .map_or(0, |last| log.lines.len().saturating_sub(last));
    let lines = log.lines[skipped..].iter().map(|(line, _)| line);
    match args.format.with_json_as(OutputFormat::Jsonl) {
        // The log itself, to the byte.
        OutputFormat::Jsonl => {
            for line in lines {
                let bytes = line.to_bytes().map_err(StoreError::from)?;
                out.bytes(&[&bytes[..], b"\n"].concat())?;
            }
        }
        format => {
            let mut records = out.records(format);
            for line in lines {
                records.add(line, || text(line))?;
            }
            records.finish()?;
        }
    }
    if log.lines.is_empty() {
        ui.note("the store has no audit log yet; its first change creates it");
    }
    if log.torn {
        ui.note("the last line is incomplete: its change did not happen");
    }
    Ok(())
}

fn text(line: &AuditRecord) -> String {
    let ids: Vec<_> = line.ids.iter().map(ManifestId::short).collect();
    let details = [&line.subject, &Some(ids.join(" ")), &line.reason];
    let details = details.into_iter().flatten();
    let details: Vec<_> = details
        .filter(|detail| !detail.is_empty())
        .map(|detail| terminal_safe(detail))
        .collect();
    format!(
        "{:>5}  {}  {}@{}  {:8}  {}",
        line.number,
        line.at,
        terminal_safe(&line.actor),
        terminal_safe(&line.host),
        line.event,
        details.join("  ")
    )
}

fn verify(args: &VerifyLogArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let trust = (!args.unsigned).then(|| args.trust.read()).transpose()?;
    let log = store.audit()?;
    let mut faults = faults(&store, &log, trust.as_ref())?;
    if let Some(path) = &args.checkpoint {
        let bytes = fs::read(path).map_err(|source| AuditError::Read {
            path: path.clone(),
            source,
        })?;
        let checkpoint = store::read_checkpoint(&bytes, path)?;
        let paths = [&store.audit_path(), path];
        faults.extend(checkpoint_fault(&log, &checkpoint, paths, trust.as_ref()));
    }
    if !faults.is_empty() {
        return Err(AuditError::Faults(faults).into());
    }
    let checkpoint = store.checkpoint()?.map(|signed| signed.checkpoint);
    let report = json!({"ok": true, "lines": log.lines.len(), "checkpoint": checkpoint});
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &report, || {
        let checkpoint = checkpoint.map_or_else(
            || "none".to_owned(),
            |checkpoint| format!("{} lines on {}", checkpoint.number, checkpoint.at),
        );
        let mut rows = Rows::default();
        rows.add("lines", log.lines.len().to_string());
        rows.add("checkpoint", checkpoint);
        rows.into_text()
    })
}

/// Reports a log that contradicts its checkpoint, and channels that have moved without a line in it.
pub(super) fn faults(
    store: &Store,
    log: &AuditLog,
    trust: Option<&Trust>,
) -> Result<Vec<String>, StoreError> {
    let mut faults = store.unlogged(log)?;
    if let Some(checkpoint) = store.checkpoint()? {
        let paths = [&store.audit_path(), &store.checkpoint_path()];
        faults.extend(checkpoint_fault(log, &checkpoint, paths, trust));
    }
    Ok(faults)
}

fn checkpoint_fault(
    log: &AuditLog,
    checkpoint: &SignedCheckpoint,
    [log_path, checkpoint_path]: [&PathBuf; 2],
    trust: Option<&Trust>,
) -> Option<String> {
    if let Some(trust) = trust {
        let judged = match checkpoint.checkpoint.to_bytes() {
            Ok(bytes) => judge(trust, NAMESPACE, checkpoint.signature.as_bytes(), &bytes),
            Err(error) => return Some(with_causes(&error)),
        };
        if let Some(because) = &judged.because {
            let signer = judged.signer();
            let path = checkpoint_path.display();
            return Some(format!("{path}, signed by {signer}: {because}"));
        }
    }
    let contradiction = log.contradicts(&checkpoint.checkpoint)?;
    Some(format!("{}: {contradiction}", log_path.display()))
}

async fn checkpoint(args: &CheckpointArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let signer = args.key.required_signer()?;
    // Refuses to sign a damaged log.
    store.audit()?;
    let checkpoint = attestation::checkpoint(&signer, &store).await?;
    let checkpoint = checkpoint.ok_or(AuditError::Empty)?;
    out.json_line(&checkpoint)
}
