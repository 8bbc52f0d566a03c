//! `karat store status`

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::prune::KeepArgs;
use super::shared::store_args::{StoreArgs, StoredError, plain, size};
use crate::store::{ImageStatus, Status};
use crate::time::Timestamp;

/// Look at the store as a whole
#[derive(Clone, Debug, Args)]
pub struct StoreVerbArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Status(StatusArgs),
}

/// Show how large it is, what is saved by storing once what images share, and what holds each image
#[derive(Clone, Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    keep: KeepArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Shows the store.
///
/// # Errors
/// It cannot be read, or something in it is damaged.
pub fn run(args: &StoreVerbArgs, out: &mut dyn Write) -> Result<(), StoredError> {
    let Verb::Status(args) = &args.verb;
    let store = args.store.open()?;
    let held = store.held(args.keep.keep(), Timestamp::now())?;
    let status = store.status(&held)?;
    if args.json {
        writeln!(out, "{}", as_json(&status))?;
    } else {
        print(&status, out)?;
    }
    Ok(out.flush()?)
}

fn print(status: &Status, out: &mut dyn Write) -> std::io::Result<()> {
    let mut row = |key: &str, value: String| writeln!(out, "{key:12} {value}");
    let removed = match status.removed {
        0 => String::new(),
        count => format!(", and the manifests of {count} that were removed"),
    };
    row("images", format!("{}{removed}", status.images.len()))?;
    let saved = status.logical.saturating_sub(status.stored);
    let share = saved * 100 / status.logical.max(1);
    row(
        "stored",
        format!(
            "{} of {} ({share} % saved)",
            size(status.stored),
            size(status.logical)
        ),
    )?;
    row(
        "for rebuilds",
        format!("{} of bases, packages and files", size(status.materials)),
    )?;
    if status.loose > 0 {
        row("loose", format!("{} of nothing", size(status.loose)))?;
    }
    row("files", status.blobs.to_string())?;
    if status.images.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let name = status.images.iter().map(|it| it.name.len()).max();
    let name = name.unwrap_or_default().max("IMAGE".len());
    writeln!(
        out,
        "{:name$}  {:12}  {:>10}  {:>10}  HELD BY",
        "IMAGE", "ID", "SIZE", "OWN"
    )?;
    for image in &status.images {
        writeln!(
            out,
            "{:name$}  {}  {:>10}  {:>10}  {}",
            plain(&image.name),
            image.id.short(),
            size(image.size),
            size(image.own),
            holders(image)
        )?;
    }
    Ok(())
}

fn holders(image: &ImageStatus) -> String {
    let all: Vec<_> = image.holders.iter().map(ToString::to_string).collect();
    match (all.is_empty(), image.condemned) {
        (false, _) => all.join(", "),
        (true, Some(since)) => format!("nothing, marked for removal {since}"),
        (true, None) => "nothing".to_owned(),
    }
}

fn as_json(status: &Status) -> serde_json::Value {
    let images = status.images.iter().map(|image| {
        let holders: Vec<_> = image.holders.iter().map(ToString::to_string).collect();
        let mut row = json!({
            "id": image.id.to_string(),
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
