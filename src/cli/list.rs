//! `karat list`

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::CommandError;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::digest::Digest;
use crate::record::manifest::ManifestId;
use crate::store::{Store, StoreError, Timestamp};
use crate::template::problem::did_you_mean;
use crate::ui::Ui;
use crate::ui::text::{human_size, terminal_safe};

/// List the images in the store
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// List the images of this name only
    name: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// An image in the list.
#[derive(Serialize)]
struct Line {
    name: String,
    id: ManifestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    size: u64,
    virtual_size: u64,
    format: String,
    arch: String,
    digest: Digest,
    packages: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    revoked: bool,
    /// Its bytes are no longer in the store.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// Prints all images, oldest first. Skips damaged manifests, and reports the first one after the list.
pub(crate) fn run(args: &ListArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let mut lines = Vec::new();
    let mut failure = None;
    for id in store.ids()? {
        if args.name.is_some() && args.name != store.name_of(id) {
            continue;
        }
        match line(&store, id) {
            Ok(line) => lines.push(line),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    lines.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
    let format = args.format.with_json_as(OutputFormat::Json);
    out.list(format, &lines, || text(&lines))?;
    if lines.is_empty() {
        ui.note(&nothing(args, &store));
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Returns the note on an empty list.
fn nothing(args: &ListArgs, store: &Store) -> String {
    let root = store.root().display();
    let Some(name) = &args.name else {
        return format!("no images in the store at {root}; `karat build TEMPLATE` adds one");
    };
    // A channel and `NAME@latest` begin with a name.
    let start = name.split(['/', '@', ':']).next().unwrap_or(name);
    let names = store.names();
    let advice = did_you_mean(start, names.iter().map(String::as_str));
    let advice = advice.unwrap_or_else(|| "`karat list` lists all images".to_owned());
    format!("no images of the name {name:?} in the store at {root}; {advice}")
}

fn line(store: &Store, id: ManifestId) -> Result<Line, StoreError> {
    let manifest = store.manifest(id)?.manifest;
    let records = store.records_of(id)?;
    let image = manifest.outputs.image;
    Ok(Line {
        name: manifest.inputs.image.name,
        id,
        created: records.first().map(|record| record.finished),
        size: image.size,
        virtual_size: image.virtual_size,
        format: image.format,
        arch: manifest.outputs.arch,
        digest: image.digest,
        packages: manifest.outputs.packages.len(),
        revoked: store.revoked(id)?.is_some(),
        removed: !store.has_image(&image.digest)?,
    })
}

fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    let Some(name) = lines.iter().map(|line| line.name.len()).max() else {
        return text;
    };
    let name = name.max("IMAGE".len());
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:name$}  {:12}  {:20}  {:>10}  {:6}  PACKAGES",
        "IMAGE", "ID", "CREATED", "SIZE", "FORMAT"
    );
    for line in lines {
        let created = line.created.map_or("-".to_owned(), |time| time.to_string());
        let _ = writeln!(
            text,
            "{:name$}  {:12}  {created:20}  {:>10}  {:6}  {}{}{}",
            line.name,
            line.id.short(),
            human_size(line.size),
            terminal_safe(&line.format),
            line.packages,
            if line.revoked { "  revoked" } else { "" },
            if line.removed { "  removed" } else { "" },
        );
    }
    text
}
