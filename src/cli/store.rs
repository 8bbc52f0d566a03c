//! `karat store status`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::CommandError;
use super::prune::KeepArgs;
use super::shared::stdout::{FormatArgs, OutputFormat, Rows, Stdout};
use super::shared::store_args::StoreArgs;
use crate::store::{ImageStatus, StoreStatus};
use crate::time::Timestamp;
use crate::ui::text::{human_size, terminal_safe};

/// Inspect the store as a whole
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreVerbArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Status(StatusArgs),
}

/// Show the size of the store, the space saved by deduplication, and why each image is kept
#[derive(Clone, Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    keep: KeepArgs,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) fn run(args: &StoreVerbArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let Verb::Status(args) = &args.verb;
    let store = args.store.open()?;
    let held = store.held(args.keep.keep(), Timestamp::now())?;
    let status = store.status(&held)?;
    let format = args.format.with_json_as(OutputFormat::Jsonl);
    out.document(format, &as_json(&status), || as_text(&status))
}

fn as_text(status: &StoreStatus) -> String {
    let mut rows = Rows::default();
    let removed = match status.removed {
        0 => String::new(),
        count => format!(", and the manifests of {count} that were removed"),
    };
    rows.add("images", format!("{}{removed}", status.images.len()));
    let saved = status.logical.saturating_sub(status.stored);
    let share = saved * 100 / status.logical.max(1);
    let (stored, logical) = (human_size(status.stored), human_size(status.logical));
    rows.add("stored", format!("{stored} of {logical} ({share} % saved)"));
    rows.add(
        "for rebuilds",
        format!(
            "{} of bases, packages and files",
            human_size(status.materials)
        ),
    );
    if status.loose > 0 {
        rows.add("unreferenced", human_size(status.loose));
    }
    rows.add("files", status.blobs.to_string());
    let mut text = rows.into_text();
    let Some(name) = status.images.iter().map(|image| image.name.len()).max() else {
        return text;
    };
    let name = name.max("IMAGE".len());
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n{:name$}  {:12}  {:>10}  {:>10}  HELD BY",
        "IMAGE", "ID", "SIZE", "OWN"
    );
    for image in &status.images {
        let _ = writeln!(
            text,
            "{:name$}  {}  {:>10}  {:>10}  {}",
            terminal_safe(&image.name),
            image.id.short(),
            human_size(image.size),
            human_size(image.own),
            holders(image)
        );
    }
    text
}

fn holders(image: &ImageStatus) -> String {
    let all: Vec<_> = image.holders.iter().map(ToString::to_string).collect();
    match (all.is_empty(), image.condemned) {
        (false, _) => all.join(", "),
        (true, Some(since)) => format!("nothing, marked for removal {since}"),
        (true, None) => "nothing".to_owned(),
    }
}

fn as_json(status: &StoreStatus) -> serde_json::Value {
    let images = status.images.iter().map(|image| {
        let holders: Vec<_> = image.holders.iter().map(ToString::to_string).collect();
        let mut row = json!({
            "id": image.id.to_string(),
            "name": image.name,
            "image": image.name,
            "size": image.size,
            "own": image.own,
            "held_by": holders,
        });
        if let Some(since) = image.condemned {
            row["marked"] = since.to_string().into();
        }
        row
    });
    json!({
        "images": images.collect::<Vec<_>>(),
        "removed": status.removed,
        "logical": status.logical,
        "stored": status.stored,
        "materials": status.materials,
        "loose": status.loose,
        "blobs": status.blobs,
    })
}
