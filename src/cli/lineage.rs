//! `karat show --lineage`, and its older forms `karat children` and `karat parents`

use clap::Args;
use serde::Serialize;

use super::CommandError;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::record::manifest::ManifestId;
use crate::store::{Relative, Store, StoreError, StoredManifest};
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

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// An ancestor or descendant of an image.
#[derive(Serialize)]
struct Line {
    id: ManifestId,
    name: String,
    /// The name again, as `karat children` has always called it.
    image: String,
    /// Number of generations, from 1.
    distance: usize,
    /// Reason of the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
}

/// An image with its ancestors and descendants.
#[derive(Serialize)]
struct Family<'a> {
    id: ManifestId,
    name: &'a str,
    /// Nearest first.
    parents: Vec<Line>,
    children: Vec<Line>,
}

/// Prints the images built on an image, each indented below its base.
pub(crate) fn children(args: &ChildrenArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let (store, id) = args.of.resolve()?;
    let children = lines(&store, store.lineage()?.children(id))?;
    if children.is_empty() {
        ui.note(&format!("no image is built on {}", id.short()));
    }
    print(&args.of, &children, out)
}

pub(crate) fn parents(args: &ParentsArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let (store, id) = args.of.resolve()?;
    let parents = lines(&store, store.lineage()?.parents(id))?;
    if parents.is_empty() {
        ui.note(&format!("{} is not built on an image", id.short()));
    }
    print(&args.of, &parents, out)
}

/// Prints the ancestors of an image, the image, and its descendants, each indented below its base.
pub(super) fn show(
    store: &Store,
    image: &StoredManifest,
    format: OutputFormat,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let lineage = store.lineage()?;
    let family = Family {
        id: image.id,
        name: &image.manifest.inputs.image.name,
        parents: lines(store, lineage.parents(image.id))?,
        children: lines(store, lineage.children(image.id))?,
    };
    out.document(format, &family, || family.text())
}

impl LineageArgs {
    fn resolve(&self) -> Result<(Store, ManifestId), CommandError> {
        let store = self.store.open()?;
        let id = store.resolve(&self.id)?;
        Ok((store, id))
    }
}

fn lines(store: &Store, relatives: Vec<Relative>) -> Result<Vec<Line>, StoreError> {
    let line = |Relative { id, name, distance }| {
        let revoked = store.revoked(id)?.map(|revoked| revoked.revocation.reason);
        Ok(Line {
            id,
            image: name.clone(),
            name,
            distance,
            revoked,
        })
    };
    relatives.into_iter().map(line).collect()
}

fn print(args: &LineageArgs, lines: &[Line], out: &mut Stdout) -> Result<(), CommandError> {
    let format = args.format.with_json_as(OutputFormat::Jsonl);
    let text = || {
        let lines = lines.iter();
        lines.map(|line| line.text(line.distance - 1)).collect()
    };
    out.list(format, lines, text)
}

impl Line {
    fn text(&self, depth: usize) -> String {
        let revoked = self.revoked.as_deref().map(terminal_safe);
        let revoked = revoked.map(|reason| format!("  revoked: {reason}"));
        shown(depth, self.id, &self.name, &revoked.unwrap_or_default())
    }
}

impl Family<'_> {
    fn text(&self) -> String {
        let distances = self.parents.iter().map(|line| line.distance);
        let depth = distances.max().unwrap_or(0);
        let parents = self.parents.iter().rev();
        let parents = parents.map(|line| line.text(depth - line.distance));
        let this = shown(depth, self.id, self.name, "  (this image)");
        let children = self.children.iter();
        let children = children.map(|line| line.text(depth + line.distance));
        parents.chain([this]).chain(children).collect()
    }
}

/// Returns the line of an image.
fn shown(depth: usize, id: ManifestId, name: &str, remark: &str) -> String {
    let indent = "  ".repeat(depth);
    format!("{indent}{}  {}{remark}\n", id.short(), terminal_safe(name))
}
