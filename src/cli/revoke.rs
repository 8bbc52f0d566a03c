//! `karat revoke`

use std::io;

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::single_image;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::os::user;
use crate::record::manifest::ManifestId;
use crate::sign::Signer;
use crate::store::predicate::{REVOCATION, Revocation};
use crate::store::{Relative, Store};
use crate::time::Timestamp;
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// Revoke an image: refuse to promote, export, publish or build on it
///
/// A revocation is signed and permanent. Images that are built on the image are listed, and revoked too with --cascade. A
/// channel that points at it is not moved: see `karat rollback`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Image: 4 or more digits of its id, NAME if one image has it, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    /// Reason, shown with every refusal
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,

    /// Also revoke all images that are built on it
    #[arg(long)]
    cascade: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

pub(crate) async fn run(args: &RevokeArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = single_image::resolve(&store, &args.id)?;
    let signer = args.key.required_signer()?;
    let children = store.lineage()?.children(id);
    let mut targets = vec![(id, None)];
    if args.cascade {
        targets.extend(children.iter().map(|child| (child.id, Some(id))));
    }
    let mut records = out.records(args.format.with_json_as(OutputFormat::Jsonl));
    for &(target, because_of) in &targets {
        if let Some(earlier) = store.revoked(target)? {
            let by = terminal_safe(&earlier.revocation.by);
            ui.note(&format!("{} is already revoked, by {by}", target.short()));
            continue;
        }
        let revocation = Revocation {
            reason: terminal_safe(args.reason.trim()),
            by: user::who(),
            revoked: Timestamp::now(),
            because_of,
        };
        revoke(target, &revocation, &signer, &store).await?;
        let name = store.manifest(target)?.manifest.inputs.image.name;
        let line = json!({"id": target.to_string(), "name": name, "image": name});
        records.add(&line, || {
            format!("{}  {}", target.short(), terminal_safe(&name))
        })?;
    }
    records.finish()?;
    attestation::checkpoint(&signer, &store).await?;
    if !args.cascade {
        warn_of_children(&children, &store, ui)?;
    }
    warn_of_channels(|head| targets.iter().any(|(id, _)| *id == head), &store, ui)
}

async fn revoke(
    id: ManifestId,
    revocation: &Revocation,
    signer: &Signer,
    store: &Store,
) -> Result<(), CommandError> {
    let predicate = serde_json::to_value(revocation)
        .map_err(|error| CommandError::io("cannot write JSON", &io::Error::other(error)))?;
    attestation::attest(id, REVOCATION, predicate, Some(signer), store).await
}

fn warn_of_children(children: &[Relative], store: &Store, ui: &Ui) -> Result<(), CommandError> {
    for child in children {
        if store.revoked(child.id)?.is_none() {
            ui.warn(&format!(
                "{} ({}) is built on it and is not revoked; use `--cascade`",
                child.id.short(),
                terminal_safe(&child.name)
            ));
        }
    }
    Ok(())
}

fn warn_of_channels(
    is_revoked: impl Fn(ManifestId) -> bool,
    store: &Store,
    ui: &Ui,
) -> Result<(), CommandError> {
    for name in store.channels()? {
        let head = store.channel(&name)?.head().map(|head| head.manifest);
        if head.is_some_and(&is_revoked) {
            ui.warn(&format!(
                "{name} points at it; `karat rollback {name}` goes back to the last image that is not revoked"
            ));
        }
    }
    Ok(())
}
