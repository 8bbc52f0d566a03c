//! What `promote` and `rollback` share: everything that must be proved before a channel moves, and the move.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::Stdio;

use clap::Args;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::attestation;
use super::failure::chain;
use super::key_args::{KeyArgs, TrustArgs};
use super::signature_policy::{Asked, judge_all, wanting};
use super::store_args::{StoreArgs, plain};
use crate::cli::verify;
use crate::ec2::channel_target::Change;
use crate::os::user;
use crate::record::channel::{self, ChannelName, Direction, Entry, Move};
use crate::record::manifest::ManifestId;
use crate::sign::Signer;
use crate::store::{ChannelPolicy, ScanRecord, Store, StoreError, Writing};
use crate::time::Timestamp;
use crate::ui::Ui;

mod ec2;
mod error;

use ec2::AtAws;
pub(in crate::cli) use ec2::published;
pub use error::MoveError;

/// Vulnerabilities that are named one by one.
const MOST_TOLD: usize = 5;

/// How to move a channel to an image that is forbidden.
const UNLESS: &str = "`--force --reason TEXT` moves to this one all the same";

/// How a channel is moved.
#[derive(Clone, Debug, Args)]
pub struct MoveArgs {
    /// Why, for whoever reads the history
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,

    /// Prove everything, and move nothing
    #[arg(long)]
    pub check: bool,

    /// Move although the image was revoked, or the last scan, its age or its lack says no; needs a --reason
    #[arg(long)]
    pub force: bool,

    /// Run this command once the channel has moved, with the move as JSON on its stdin
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,

    /// Print the move as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub trust: TrustArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub key: KeyArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Which channel is to point where.
pub(in crate::cli) struct Wanted<'a> {
    pub(in crate::cli) name: &'a ChannelName,
    pub(in crate::cli) id: ManifestId,
    pub(in crate::cli) direction: Direction,
}

/// What is there once everything is proved.
struct Ready {
    entry: Move,
    /// The channel points to the image already.
    is_there: bool,
    signer: Option<Signer>,
    /// `None` for a rehearsal.
    writing: Option<Writing>,
    at_aws: Option<AtAws>,
    /// What moves at AWS.
    changes: Vec<Change>,
}

/// Proves that the channel may move, and moves it, together with what it moves at AWS.
///
/// # Errors
/// See [`MoveError`]. The channel is where it was, but for [`MoveError::Hook`] and [`MoveError::Checkpoint`].
pub(in crate::cli) async fn run(
    store: &Store,
    wanted: Wanted<'_>,
    args: &MoveArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<(), MoveError> {
    let name = wanted.name;
    let cancelled = || MoveError::Cancelled(name.clone());
    let ready = cancel.run_until_cancelled(ready(store, &wanted, args, ui));
    let ready = ready.await.ok_or_else(cancelled)??;
    let Ready {
        entry,
        signer,
        at_aws,
        changes,
        ..
    } = ready;
    if let Some(writing) = ready.writing {
        if let Some(at_aws) = &at_aws {
            at_aws.apply(&entry, &changes, ui, cancel).await?;
        }
        if ready.is_there {
            return at_aws.map_or(Ok(()), |it| it.end());
        }
        if let Err(error) = record(&writing, &entry, signer.as_ref()).await {
            if let Some(at_aws) = &at_aws {
                at_aws.undo(&changes, ui).await?;
            }
            return Err(error);
        }
        if let Some(at_aws) = at_aws {
            at_aws.end()?;
        }
    } else {
        let id = entry.manifest.short();
        ui.note(&format!("nothing was moved: {name} may go to {id}"));
        return print(&entry, args.json, out);
    }
    print(&entry, args.json, out)?;
    if let Some(signer) = &signer {
        let point = attestation::checkpoint(signer, store).await;
        let name = name.clone();
        point.map_err(|source| MoveError::Checkpoint {
            name,
            source: Box::new(source),
        })?;
    }
    match &args.exec {
        Some(command) => hook(command, &entry).await,
        None => Ok(()),
    }
}

/// Proves everything, and changes nothing but what an earlier move has left.
async fn ready(
    store: &Store,
    wanted: &Wanted<'_>,
    args: &MoveArgs,
    ui: &Ui,
) -> Result<Ready, MoveError> {
    let &Wanted {
        name,
        id,
        direction,
    } = wanted;
    let image = store.manifest(id)?.manifest.inputs.image.name;
    if image != name.image {
        let name = name.clone();
        return Err(MoveError::Image { id, image, name });
    }
    if args.force && args.reason.trim().is_empty() {
        return Err(MoveError::Reason(
            "`--force` goes over the policy".to_owned(),
        ));
    }
    let policy = ChannelPolicy::read(store, name)?;
    let signer = args.key.signer()?;
    if policy.signed_moves && signer.is_none() && !args.check {
        return Err(MoveError::NoKey(name.clone()));
    }
    // Nothing is pruned that is looked at from now on.
    let writing = if args.check {
        None
    } else {
        Some(store.begin().await?)
    };
    if !args.force {
        store.allow(id, UNLESS)?;
    }
    prove(store, name, id, &policy, args, ui).await?;
    let because = refused(store, id, &policy)?;
    if !because.is_empty() && !args.force {
        let name = name.clone();
        return Err(MoveError::Refused { id, name, because });
    }
    let at_aws = match &policy.ec2 {
        Some(targets) => Some(AtAws::begin(store, name, targets, args.check, ui).await?),
        None => None,
    };
    let now = store.channel(name)?;
    if direction == Direction::Rollback
        && let Some(opened) = opened_again(store, now.head(), id)?
        && args.reason.trim().is_empty()
    {
        return Err(MoveError::Reason(opened));
    }
    let entry = Move {
        by: who(),
        reason: plain(args.reason.trim()),
        ..now.next(name, direction, id)
    };
    let head = now.head().filter(|head| head.manifest == id);
    let changes = match &at_aws {
        Some(at_aws) => {
            let trust = if policy.asks() {
                Some(args.trust.read(&args.trust.path()?)?)
            } else {
                None
            };
            at_aws.plan(store, &entry, trust.as_ref()).await?
        }
        None => Vec::new(),
    };
    AtAws::tell(&changes, ui);
    if head.is_some() {
        ui.note(&format!("{name} points to {} already", id.short()));
    }
    Ok(Ready {
        is_there: head.is_some(),
        // What it has moved at AWS since then is put right under its number.
        entry: head.cloned().unwrap_or(entry),
        signer,
        writing,
        at_aws,
        changes,
    })
}

/// Reads every byte of the image and of what is beside its manifest, and counts signatures.
async fn prove(
    store: &Store,
    name: &ChannelName,
    id: ManifestId,
    policy: &ChannelPolicy,
    args: &MoveArgs,
    ui: &Ui,
) -> Result<(), MoveError> {
    let checked = verify::check(store, Some(id), ui).await?;
    let faults = checked.faults.iter().map(|fault| chain(fault, ": "));
    let mut faults: Vec<_> = faults.collect();
    if faults.is_empty() && policy.asks() {
        let trust = args.trust.read(&args.trust.path()?)?;
        let bytes = store.manifest(id)?.bytes;
        let signatures = store.signatures_of(id)?;
        let texts = signatures.iter().map(|it| it.text.as_slice());
        let judged = judge_all(&trust, texts, &bytes);
        let asked = Asked {
            require: policy.require_signed,
            by: &policy.signers,
            approvals: policy.approvals,
            approvers: &policy.approvers,
        };
        faults = wanting(asked, &id.short(), &judged);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let name = name.clone();
    Err(MoveError::Unproved { id, name, faults })
}

/// Why the last scan of an image is not good enough.
fn refused(
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
            because.push(format!("its last scan is of {}", scan.scanned));
        }
    }
    Ok(because)
}

/// What going back brings back: vulnerabilities that the image of now has not, by the last scan of each.
fn opened_again(
    store: &Store,
    head: Option<&Move>,
    id: ManifestId,
) -> Result<Option<String>, StoreError> {
    let Some(head) = head else {
        return Ok(None);
    };
    let last = |id| Ok::<_, StoreError>(store.scans_of(id)?.pop());
    let (Some(now), Some(then)) = (last(head.manifest)?, last(id)?) else {
        return Ok(None);
    };
    let now = vulnerabilities(&now);
    let opened: Vec<_> = vulnerabilities(&then).difference(&now).cloned().collect();
    if opened.is_empty() {
        return Ok(None);
    }
    let mut names = opened[..opened.len().min(MOST_TOLD)].join(", ");
    if opened.len() > MOST_TOLD {
        names += ", ...";
    }
    let what = match opened.len() {
        1 => "1 fixed vulnerability".to_owned(),
        many => format!("{many} fixed vulnerabilities"),
    };
    Ok(Some(format!("goes back over {what}: {names}")))
}

fn vulnerabilities(scan: &ScanRecord) -> BTreeSet<String> {
    let findings = scan.report.findings.iter();
    let of = findings.filter(|it| it["check"] == "vulnerability");
    of.filter_map(|it| Some(it["id"].as_str()?.to_owned()))
        .collect()
}

async fn record(writing: &Writing, entry: &Move, signer: Option<&Signer>) -> Result<(), MoveError> {
    let signature = match signer {
        Some(signer) => {
            let bytes = entry.to_bytes().map_err(StoreError::from)?;
            Some(signer.sign(channel::NAMESPACE, &bytes).await?)
        }
        None => None,
    };
    let kept = Entry {
        entry: entry.clone(),
        signature,
    };
    Ok(writing.move_channel(kept).await?)
}

pub(in crate::cli) fn print(
    entry: &Move,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), MoveError> {
    if json {
        let line = serde_json::to_string(entry).map_err(io::Error::other)?;
        writeln!(out, "{line}")?;
    } else {
        let from = entry
            .previous
            .map_or_else(|| "nothing".to_owned(), |id| id.short());
        let to = entry.manifest.short();
        writeln!(out, "{} {}: {from} -> {to}", entry.channel, entry.number)?;
    }
    Ok(out.flush()?)
}

fn who() -> String {
    plain(&user::who())
}

/// Runs a command by the shell, with the move on its standard input. What it prints is not data of karat's.
pub(in crate::cli) async fn hook(command: &str, entry: &Move) -> Result<(), MoveError> {
    let failed = |problem: String| MoveError::Hook {
        name: entry.channel.clone(),
        command: command.to_owned(),
        problem,
    };
    let bytes = entry.to_bytes().map_err(StoreError::from)?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(io::stderr())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not want it closes it.
        let _ = input.write_all(&bytes).await;
    }
    let status = child.wait().await;
    let status = status.map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(failed(format!("failed ({status})")))
}
