//! `karat export`

use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::CommandError;
use super::shared::exit_status::ExitStatus;
use super::shared::image_line::ImageLine;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::record::manifest::Manifest;
use crate::ui::Ui;
use crate::ui::text::human_size;

/// Help when the image is revoked.
const REVOKED_HELP: &str = "`--allow-revoked` exports it anyway";

/// Copy an image out of the store, verifying every byte
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    id: String,

    /// Write the image to this file, or as NAME.FORMAT to this directory
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Export the image even if it is revoked
    #[arg(long)]
    allow_revoked: bool,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// An exported image as JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    image: ImageLine<'a>,
    path: String,
}

pub(crate) async fn run(args: &ExportArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let stored = store.manifest(store.resolve(&args.id)?)?;
    if !args.allow_revoked {
        store.allow(stored.id, REVOKED_HELP)?;
    }
    let output = file_of(&args.output, &stored.manifest)?;
    let blob = store
        .export(&stored.manifest, &output, args.force, ui)
        .await?;
    ui.note(&format!(
        "wrote {} ({}, {})",
        output.display(),
        human_size(blob.size),
        blob.digest
    ));
    let line = Line {
        image: ImageLine::new(stored.id, &stored.manifest),
        path: output.display().to_string(),
    };
    out.document(
        args.format.with_json_as(OutputFormat::Json),
        &line,
        String::new,
    )
}

/// `-o -` asks for a stream, but an image is verified before its file has its name.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot export to stdout: an image is verified before its file is complete")]
#[diagnostic(help("give the path of a file; `-o ./-` names a file `-`"))]
struct NotToStdout;

impl ExitStatus for NotToStdout {
    const EXIT_CODE: u8 = 2;
}

/// Returns the file to write: `output`, or a file named after the image in the directory `output`.
fn file_of(output: &Path, manifest: &Manifest) -> Result<PathBuf, NotToStdout> {
    if output == Path::new("-") {
        return Err(NotToStdout);
    }
    if !output.is_dir() {
        return Ok(output.to_owned());
    }
    let image = &manifest.inputs.image.name;
    Ok(output.join(format!("{image}.{}", manifest.outputs.image.format)))
}
