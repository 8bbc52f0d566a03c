//! `karat children` and `karat parents`

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::shared::stdout::{OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::record::manifest::ManifestId;
use crate::store::{Relative, Store};
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// List the images that are built on an image
#[derive(Clone, Debug, Args)]
pub(crate) struct ChildrenArgs {
    #[command(flatten)]
    of: LineageArgs,
}

/// List the images that an image is built on, nearest first
#[derive(Clone, Debug, Args)]
pub(crate) struct ParentsArgs {
    #[command(flatten)]
    of: LineageArgs,
}

#[derive(Clone, Debug, Args)]
struct LineageArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    /// Print one JSON object per image
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Prints the images built on an image, each indented below its base.
pub(crate) fn children(args: &ChildrenArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let (store, id) = args.of.resolve()?;
    let children = store.lineage()?.children(id);
    if children.is_empty() {
        ui.note(&format!("no image is built on {}", id.short()));
    }
    print(&args.of, &store, &children, out)
}

pub(crate) fn parents(args: &ParentsArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let (store, id) = args.of.resolve()?;
    let parents = store.lineage()?.parents(id);
    if parents.is_empty() {
        ui.note(&format!("{} is not built on an image", id.short()));
    }
    print(&args.of, &store, &parents, out)
}

impl LineageArgs {
    fn resolve(&self) -> Result<(Store, ManifestId), CommandError> {
        let store = self.store.open()?;
        let id = store.resolve(&self.id)?;
        Ok((store, id))
    }
}

fn print(
    args: &LineageArgs,
    store: &Store,
    relatives: &[Relative],
    out: &mut Stdout,
) -> Result<(), CommandError> {
    for Relative { id, name, distance } in relatives {
        let revoked = store.revoked(*id)?.map(|revoked| revoked.revocation.reason);
        let mut line = json!({"id": id.to_string(), "image": name, "distance": distance});
        if let Some(reason) = &revoked {
            line["revoked"] = reason.clone().into();
        }
        out.record(OutputFormat::new(args.json), &line, || {
            let indent = "  ".repeat(distance - 1);
            let revoked = revoked.map(|reason| format!("  revoked: {}", terminal_safe(&reason)));
            let revoked = revoked.unwrap_or_default();
            format!("{indent}{}  {}{revoked}", id.short(), terminal_safe(name))
        })?;
    }
    Ok(())
}
