//! `karat children` and `karat parents`

use std::io::Write;

use clap::Args;

use super::shared::store_args::{StoreArgs, StoredError, plain};
use crate::store::Relative;

/// List the images that are built on an image
#[derive(Clone, Debug, Args)]
pub struct ChildrenArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub of: KinArgs,
}

/// List the images that an image is built on, the nearest first
#[derive(Clone, Debug, Args)]
pub struct ParentsArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub of: KinArgs,
}

/// Whose.
#[derive(Clone, Debug, Args)]
pub struct KinArgs {
    /// The image: the first 8 digits or more of its id, or a channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    /// Print one JSON object an image
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Prints what is built on an image, each indented below what it is built on.
///
/// # Errors
/// There is no such manifest, or the store cannot be read.
pub fn children(args: &ChildrenArgs, out: &mut dyn Write) -> Result<(), StoredError> {
    let store = args.of.store.open()?;
    let id = store.resolve(&args.of.id)?;
    print(&args.of, &store.lineage()?.children(id), out)
}

/// Prints what an image is built on.
///
/// # Errors
/// There is no such manifest, or the store cannot be read.
pub fn parents(args: &ParentsArgs, out: &mut dyn Write) -> Result<(), StoredError> {
    let store = args.of.store.open()?;
    let id = store.resolve(&args.of.id)?;
    print(&args.of, &store.lineage()?.parents(id), out)
}

fn print(args: &KinArgs, found: &[Relative], out: &mut dyn Write) -> Result<(), StoredError> {
    let store = args.store.open()?;
    for Relative { id, name, distance } in found {
        let revoked = store.revoked(*id)?;
        if args.json {
            let mut line =
                serde_json::json!({"id": id.to_string(), "image": name, "distance": distance});
            if let Some(revoked) = revoked {
                line["revoked"] = revoked.revocation.reason.into();
            }
            writeln!(out, "{line}")?;
            continue;
        }
        let indent = "  ".repeat(distance - 1);
        let revoked = revoked.map(|it| format!("  revoked: {}", plain(&it.revocation.reason)));
        let revoked = revoked.unwrap_or_default();
        writeln!(out, "{indent}{}  {}{revoked}", id.short(), plain(name))?;
    }
    Ok(out.flush()?)
}
