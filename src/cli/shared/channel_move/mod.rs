//! Moves a channel, for `promote` and `rollback`: verifies the image, applies the policy, records the move.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;

use clap::Args;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::attestation;
use super::key_args::{KeyArgs, TrustArgs};
use super::signature_policy::{Required, judge_all, missing_signatures};
use super::stdout::{FormatArgs, OutputFormat, Stdout};
use super::store_args::StoreArgs;
use crate::cli::{CommandError, verify};
use crate::ec2::channel_target::Change;
use crate::os::user;
use crate::record::canonical;
use crate::record::channel::{self, ChannelName, Direction, Move, SignedMove};
use crate::record::manifest::ManifestId;
use crate::sign::{Signer, Trust};
use crate::store::{ChannelPolicy, ScanRecord, Store, StoreError, Transaction};
use crate::time::Timestamp;
use crate::ui::Ui;
use crate::ui::text::{terminal_safe, with_causes};

mod ec2;
mod error;
mod move_line;

use ec2::Targets;
pub(crate) use error::MoveError;
pub(in crate::cli) use move_line::MoveLine;

/// Number of vulnerabilities that a message names.
const MAX_NAMED_VULNERABILITIES: usize = 5;

/// Help when the image is revoked.
const REVOKED_HELP: &str = "`--force --reason TEXT` moves to it anyway";

#[derive(Clone, Debug, Args)]
pub(crate) struct MoveArgs {
    /// Reason for the move, kept in the history
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,

    /// Verify everything, but do not move the channel (dry run)
    #[arg(long)]
    check: bool,

    /// Move even if the image is revoked or its scan is missing, stale or failing; needs --reason
    #[arg(long)]
    force: bool,

    /// Run this shell command after the move, with the move as JSON on its stdin
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    pub(in crate::cli) store: StoreArgs,

    #[command(flatten, next_help_heading = "Trust")]
    trust: TrustArgs,

    #[command(flatten, next_help_heading = "Trust")]
    key: KeyArgs,
}

impl MoveArgs {
    fn mode(&self) -> MoveMode {
        if self.check {
            MoveMode::DryRun
        } else {
            MoveMode::Move
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MoveMode {
    Move,
    /// Verify everything, but change nothing.
    DryRun,
}

/// The channel to move, and the image to move it to.
#[derive(Clone, Copy)]
pub(in crate::cli) struct MoveRequest<'a> {
    pub(in crate::cli) name: &'a ChannelName,
    pub(in crate::cli) id: ManifestId,
    pub(in crate::cli) direction: Direction,
}

/// A move that has passed verification and policy.
struct VerifiedMove {
    entry: Move,
    /// The channel points at the image already; only targets at AWS may change.
    is_recorded: bool,
    signer: Option<Signer>,
    /// `None` in a dry run.
    transaction: Option<Transaction>,
    targets: Option<Targets>,
    /// Changes of the targets at AWS.
    changes: Vec<Change>,
}

/// Verifies the image and moves the channel, together with its targets at AWS. An error leaves the channel where it was,
/// except [`MoveError::Hook`] and [`MoveError::Checkpoint`].
pub(in crate::cli) async fn run(
    store: &Store,
    request: MoveRequest<'_>,
    args: &MoveArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let name = request.name;
    let verified = cancel
        .run_until_cancelled(verify_move(store, request, args, ui))
        .await
        .ok_or_else(|| MoveError::Cancelled(name.clone()))??;
    let format = args.format.with_json_as(OutputFormat::Jsonl);
    if args.mode() == MoveMode::DryRun {
        let id = verified.entry.manifest.short();
        ui.note(&format!("dry run: {name} can move to {id}"));
        return print(&verified.entry, format, out);
    }
    let is_recorded = verified.is_recorded;
    // Releases the locks of the store and the targets, which checkpoint and hook may need.
    let (entry, signer) = verified.commit(ui, cancel).await?;
    if is_recorded {
        // Nothing was moved. Programs get the move that the channel is at; the older `--json` prints only moves that are made.
        return match args.format.with_json_as(OutputFormat::Text) {
            OutputFormat::Text => Ok(()),
            format => print(&entry, format, out),
        };
    }
    print(&entry, format, out)?;
    if let Some(signer) = &signer {
        attestation::checkpoint(signer, store)
            .await
            .map_err(|cause| CommandError::caused(&MoveError::Checkpoint(name.clone()), &cause))?;
    }
    match &args.exec {
        Some(command) => run_hook(command, &entry).await,
        None => Ok(()),
    }
}

impl VerifiedMove {
    /// Changes the targets at AWS and records the move, or restores the targets.
    async fn commit(
        self,
        ui: &Ui,
        cancel: &CancellationToken,
    ) -> Result<(Move, Option<Signer>), CommandError> {
        if let Some(targets) = &self.targets {
            targets
                .apply(&self.entry, &self.changes, ui, cancel)
                .await?;
        }
        if let Some(transaction) = &self.transaction
            && !self.is_recorded
            && let Err(error) = record(transaction, &self.entry, self.signer.as_ref()).await
        {
            if let Some(targets) = &self.targets {
                targets.undo(&self.changes, ui).await?;
            }
            return Err(error);
        }
        if let Some(targets) = &self.targets {
            targets.finish()?;
        }
        Ok((self.entry, self.signer))
    }
}

/// Verifies everything. Changes nothing, except that it recovers from an interrupted move.
async fn verify_move(
    store: &Store,
    request: MoveRequest<'_>,
    args: &MoveArgs,
    ui: &Ui,
) -> Result<VerifiedMove, CommandError> {
    let MoveRequest { name, id, .. } = request;
    check_request(store, request, args)?;
    let policy = ChannelPolicy::read(store, name)?;
    let signer = args.key.signer()?;
    if policy.signed_moves && signer.is_none() && args.mode() == MoveMode::Move {
        return Err(MoveError::NoKey(name.clone()).into());
    }
    // From here on, the transaction keeps everything that is verified from being pruned.
    let transaction = match args.mode() {
        MoveMode::DryRun => None,
        MoveMode::Move => Some(store.begin().await?),
    };
    let trust = verify_image(store, request, &policy, args, ui).await?;
    let targets = match &policy.ec2 {
        Some(settings) => Some(Targets::open(store, name, settings, args.mode(), ui).await?),
        None => None,
    };
    let (head, entry) = next_move(store, request, args)?;
    let changes = match &targets {
        Some(targets) => targets.plan(store, &entry, trust.as_ref()).await?,
        None => Vec::new(),
    };
    for change in &changes {
        ui.note(&format!("{}: to {}", change.name(), change.image));
    }
    let head = head.filter(|head| head.manifest == id);
    if head.is_some() {
        ui.note(&format!("{name} points at {} already", id.short()));
    }
    Ok(VerifiedMove {
        is_recorded: head.is_some(),
        // Targets at AWS that have drifted since the last move are restored under its number.
        entry: head.unwrap_or(entry),
        signer,
        transaction,
        targets,
        changes,
    })
}

fn check_request(
    store: &Store,
    MoveRequest { name, id, .. }: MoveRequest<'_>,
    args: &MoveArgs,
) -> Result<(), CommandError> {
    let image = store.manifest(id)?.manifest.inputs.image.name;
    if image != name.image {
        let name = name.clone();
        return Err(MoveError::WrongImage { id, image, name }.into());
    }
    if args.force && args.reason.trim().is_empty() {
        let message = "`--force` overrides the policy".to_owned();
        return Err(MoveError::NoReason(message).into());
    }
    Ok(())
}

/// Reads every byte of the image and of the files beside its manifest, counts signatures, and applies the policy to the last
/// scan. Returns the trusted keys, if the policy asks for signatures.
async fn verify_image(
    store: &Store,
    MoveRequest { name, id, .. }: MoveRequest<'_>,
    policy: &ChannelPolicy,
    args: &MoveArgs,
    ui: &Ui,
) -> Result<Option<Trust>, CommandError> {
    if !args.force {
        store.allow(id, REVOKED_HELP)?;
    }
    let unverified = |faults| MoveError::Unverified {
        id,
        name: name.clone(),
        faults,
    };
    let checked = verify::check(store, Some(id), ui).await?;
    if !checked.faults.is_empty() {
        let faults = checked.faults.iter().map(|fault| with_causes(fault));
        return Err(unverified(faults.collect()).into());
    }
    let mut trust = None;
    if policy.asks() {
        let trust = trust.insert(args.trust.read()?);
        let bytes = store.manifest(id)?.bytes;
        let signatures = store.signatures_of(id)?;
        let texts = signatures.iter().map(|signature| &signature.text[..]);
        let required = Required {
            keys: policy.require_signed,
            signers: &policy.signers,
            approvals: policy.approvals,
            approvers: &policy.approvers,
        };
        let faults = missing_signatures(required, &id.short(), &judge_all(trust, texts, &bytes));
        if !faults.is_empty() {
            return Err(unverified(faults).into());
        }
    }
    let because = refusals(store, id, policy)?;
    if !because.is_empty() && !args.force {
        let name = name.clone();
        return Err(MoveError::Refused { id, name, because }.into());
    }
    Ok(trust)
}

/// Returns the last move of the channel and the one to make. A rollback that brings vulnerabilities back needs a reason.
fn next_move(
    store: &Store,
    request: MoveRequest<'_>,
    args: &MoveArgs,
) -> Result<(Option<Move>, Move), CommandError> {
    let MoveRequest {
        name,
        id,
        direction,
    } = request;
    let channel = store.channel(name)?;
    if direction == Direction::Rollback
        && let Some(regression) = regression(store, channel.head(), id)?
        && args.reason.trim().is_empty()
    {
        return Err(MoveError::NoReason(regression).into());
    }
    let entry = Move {
        by: terminal_safe(&user::who()),
        reason: terminal_safe(args.reason.trim()),
        ..channel.next(name, direction, id)
    };
    Ok((channel.head().cloned(), entry))
}

/// Returns the reasons why the policy refuses the last scan of an image.
fn refusals(
    store: &Store,
    id: ManifestId,
    policy: &ChannelPolicy,
) -> Result<Vec<String>, StoreError> {
    let Some(scan) = store.scans_of(id)?.pop() else {
        let because = policy
            .require_scan
            .then(|| "it was never scanned".to_owned());
        return Ok(because.into_iter().collect());
    };
    let mut because = Vec::new();
    let failing = scan.report.counts.failing;
    if failing > 0 {
        because.push(format!(
            "its last scan ({}) has {failing} that the policy refuses",
            scan.scanned
        ));
    }
    if let Some(most) = policy.max_scan_age {
        let age = Timestamp::now().seconds() - scan.scanned.seconds();
        if age > i64::try_from(most.as_secs()).unwrap_or(i64::MAX) {
            because.push(format!("its last scan is too old ({})", scan.scanned));
        }
    }
    Ok(because)
}

/// Names the vulnerabilities that a rollback brings back, by the last scans of both images.
fn regression(
    store: &Store,
    head: Option<&Move>,
    id: ManifestId,
) -> Result<Option<String>, StoreError> {
    let Some(head) = head else {
        return Ok(None);
    };
    let (Some(current), Some(earlier)) = (
        store.scans_of(head.manifest)?.pop(),
        store.scans_of(id)?.pop(),
    ) else {
        return Ok(None);
    };
    let current = vulnerabilities(&current);
    let returning: Vec<_> = vulnerabilities(&earlier)
        .difference(&current)
        .cloned()
        .collect();
    if returning.is_empty() {
        return Ok(None);
    }
    let mut names = returning[..returning.len().min(MAX_NAMED_VULNERABILITIES)].join(", ");
    if returning.len() > MAX_NAMED_VULNERABILITIES {
        names += ", ...";
    }
    let count = match returning.len() {
        1 => "1 fixed vulnerability".to_owned(),
        count => format!("{count} fixed vulnerabilities"),
    };
    Ok(Some(format!("the rollback brings back {count}: {names}")))
}

fn vulnerabilities(scan: &ScanRecord) -> BTreeSet<String> {
    let findings = scan.report.findings.iter();
    findings
        .filter(|finding| finding["check"] == "vulnerability")
        .filter_map(|finding| Some(finding["id"].as_str()?.to_owned()))
        .collect()
}

async fn record(
    transaction: &Transaction,
    entry: &Move,
    signer: Option<&Signer>,
) -> Result<(), CommandError> {
    let signature = match signer {
        Some(signer) => {
            let bytes = entry.to_bytes().map_err(StoreError::from)?;
            Some(signer.sign(channel::NAMESPACE, &bytes).await?)
        }
        None => None,
    };
    let entry = entry.clone();
    Ok(transaction
        .move_channel(SignedMove { entry, signature })
        .await?)
}

pub(in crate::cli) fn print(
    entry: &Move,
    format: OutputFormat,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    out.document(format, &MoveLine::new(entry), || {
        let from = entry.previous.map(|id| id.short());
        let from = from.unwrap_or_else(|| "nothing".to_owned());
        let to = entry.manifest.short();
        format!("{} {}: {from} -> {to}\n", entry.channel, entry.number)
    })
}

/// Runs a shell command with the move on its stdin. Its stdout goes to stderr, since stdout carries karat's own output.
pub(in crate::cli) async fn run_hook(command: &str, entry: &Move) -> Result<(), CommandError> {
    let failed = |problem: String| MoveError::Hook {
        name: entry.channel.clone(),
        command: command.to_owned(),
        problem,
    };
    let bytes = canonical::to_bytes(&MoveLine::new(entry)).map_err(StoreError::from)?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(io::stderr())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its stdin closes it, which is no failure.
        let _ = input.write_all(&bytes).await;
    }
    let status = child.wait().await;
    let status = status.map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(format!("failed ({status})")).into())
}
