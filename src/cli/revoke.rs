//! `karat revoke`

use std::io::{self, Write};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::store_args::{StoreArgs, plain};
use super::sign::SigningError;
use crate::os::user;
use crate::record::manifest::ManifestId;
use crate::sign::Signer;
use crate::store::predicate::{REVOCATION, Revocation};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Forbid an image: no channel moves to it, nothing is exported of it, nothing is built on it any more
///
/// What is said is signed and stays. Images that are built on it are listed, and forbidden too with --cascade. A channel that points
/// to it is not moved: see `karat rollback`.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// The image: the first 8 digits or more of its id, or a channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    /// Why, for whoever meets the refusal
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Forbid everything that is built on it, too
    #[arg(long)]
    pub cascade: bool,

    /// Print one JSON object for each image that was forbidden
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub key: KeyArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Why an image could not be revoked.
#[derive(Debug, Error, Diagnostic)]
pub enum RevokeError {
    /// The statement could not be made.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Signing(#[from] SigningError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl RevokeError {
    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Signing(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
        }
    }
}

/// Forbids an image.
///
/// # Errors
/// There is no such manifest or no key, or the store cannot be written.
pub async fn run(args: &RevokeArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), RevokeError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let signer = Signer::from_file(&args.key.path().map_err(SigningError::from)?);
    let signer = signer.map_err(SigningError::from)?;
    let children = store.lineage()?.children(id);
    let mut said = vec![(id, None)];
    if args.cascade {
        said.extend(children.iter().map(|it| (it.id, Some(id))));
    }
    for &(each, because_of) in &said {
        if let Some(before) = store.revoked(each)? {
            let by = plain(&before.revocation.by);
            ui.note(&format!("{} was revoked before, by {by}", each.short()));
            continue;
        }
        let revocation = Revocation {
            reason: plain(args.reason.trim()),
            by: user::who(),
            revoked: Timestamp::now(),
            because_of,
        };
        let predicate = serde_json::to_value(&revocation).map_err(io::Error::other)?;
        attestation::attest(each, REVOCATION, predicate, Some(&signer), &store).await?;
        print(&store, each, args.json, out)?;
    }
    attestation::checkpoint(&signer, &store).await?;
    if !args.cascade {
        for child in &children {
            if store.revoked(child.id)?.is_none() {
                ui.warn(&format!(
                    "{} ({}) is built on it, and is not revoked; `--cascade` does that",
                    child.id.short(),
                    plain(&child.name)
                ));
            }
        }
    }
    for name in store.channels()? {
        let head = store.channel(&name)?.head().map(|head| head.manifest);
        if head.is_some_and(|head| said.iter().any(|(id, _)| *id == head)) {
            ui.warn(&format!("{name} points to it; `karat rollback {name}` goes back to the last image that is not revoked"));
        }
    }
    Ok(())
}

fn print(
    store: &Store,
    id: ManifestId,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), RevokeError> {
    let name = store.manifest(id)?.manifest.inputs.image.name;
    if json {
        let line = serde_json::json!({"id": id.to_string(), "image": name});
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{}  {}", id.short(), plain(&name))?;
    }
    Ok(out.flush()?)
}
