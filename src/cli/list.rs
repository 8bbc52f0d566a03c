//! `karat list`

use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::shared::store_args::{StoreArgs, StoredError, size};
use crate::digest::Digest;
use crate::record::manifest::ManifestId;
use crate::store::{Store, StoreError, Timestamp};

/// List the images in the store
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// One image of the list.
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
}

/// Prints what there is, the oldest first.
///
/// # Errors
/// The store cannot be read. What was tampered with is left out, and is the error after all else is printed.
pub fn run(args: &ListArgs, out: &mut dyn Write) -> Result<(), StoredError> {
    let store = args.store.open()?;
    let mut lines = Vec::new();
    let mut failure = None;
    for id in store.ids()? {
        match line(&store, id) {
            Ok(line) => lines.push(line),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    lines.sort_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name)));
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &lines).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&lines, out)?;
    }
    out.flush()?;
    failure.map_or(Ok(()), |error| Err(error.into()))
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
    })
}

fn print(lines: &[Line], out: &mut dyn Write) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let name = lines.iter().map(|line| line.name.len()).max();
    let name = name.unwrap_or_default().max("IMAGE".len());
    writeln!(
        out,
        "{:name$}  {:12}  {:20}  {:>10}  {:6}  PACKAGES",
        "IMAGE", "ID", "CREATED", "SIZE", "FORMAT"
    )?;
    for line in lines {
        let created = line.created.map_or("-".to_owned(), |time| time.to_string());
        writeln!(
            out,
            "{:name$}  {:12}  {created:20}  {:>10}  {:6}  {}{}",
            line.name,
            line.id.short(),
            size(line.size),
            super::shared::store_args::plain(&line.format),
            line.packages,
            if line.revoked { "  revoked" } else { "" },
        )?;
    }
    Ok(())
}
