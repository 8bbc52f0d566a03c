//! `karat diff`

mod gather;
mod markdown;
mod tables;
mod text;

use std::io::Write;

use clap::Args;

use super::Failed;
use super::shared::store_args::StoreArgs;

/// Show what changed between two images
///
/// Base, packages (with the CVEs that changelogs and scans name), files by package, steps, variables, network, findings and size.
/// Files are named by package as long as both images are in the store; all the rest needs only what is recorded.
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct DiffArgs {
    /// The image to compare with: an id (its first 8 digits or more will do) or a channel
    #[arg(value_name = "A")]
    pub first: String,

    /// The image to compare: an id or a channel
    #[arg(value_name = "B")]
    pub second: String,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Print Markdown tables, as for a comment on a pull request
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,

    /// Name every file and CVE, not only the first ones of each package
    #[arg(long)]
    pub all: bool,

    /// Exit with 1 when the images differ and with 0 when they do not; what goes wrong has a message, and 1, 2 or 4
    #[arg(long)]
    pub exit_code: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Prints the difference.
///
/// # Errors
/// There is no such image, its manifest or scan was tampered with, or the store cannot be read.
pub async fn run(args: &DiffArgs, out: &mut dyn Write) -> Result<u8, Failed> {
    let store = args.store.open();
    let store = store.map_err(|error| Failed::with(error.exit_code(), error))?;
    let diff = gather::diff(&store, &args.first, &args.second).await?;
    let text = if args.json {
        let text = serde_json::to_string_pretty(&diff);
        text.map_err(|error| Failed::stdout(error.into()))? + "\n"
    } else {
        let page = tables::of(&diff, args.all);
        if args.markdown {
            markdown::print(&page)
        } else {
            text::print(&page)
        }
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failed::stdout)?;
    Ok(u8::from(args.exit_code && !diff.identical))
}
