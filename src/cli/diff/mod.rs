//! `karat diff`

mod gather;
mod markdown;
mod tables;
mod text;

use clap::Args;

use super::CommandError;
use super::shared::stdout::Stdout;
use super::shared::store_args::StoreArgs;

/// Show the differences between two images
///
/// Compares base, packages (with the CVEs that changelogs and scans name), files by package, steps, variables, network,
/// findings and size. Files are attributed to packages while both images are in the store; everything else needs records only.
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct DiffArgs {
    /// Image to compare with: 4 or more digits of its id, NAME, NAME@latest, or a channel
    #[arg(value_name = "A")]
    first: String,

    /// The image to compare: an id or a channel
    #[arg(value_name = "B")]
    second: String,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Print Markdown tables, for a comment on a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,

    /// List all files and CVEs, not only the first ones of each package
    #[arg(long)]
    all: bool,

    /// Exit with 1 if the images differ and with 0 if not; errors print a message and exit with 1, 2 or 4
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Prints the differences. Returns the exit code.
pub(crate) async fn run(args: &DiffArgs, out: &mut Stdout) -> Result<u8, CommandError> {
    let store = args.store.open()?;
    let diff = gather::diff(&store, &args.first, &args.second).await?;
    let limits = if args.all {
        tables::Limits::NONE
    } else {
        tables::Limits::DEFAULT
    };
    if args.json {
        out.json(&diff)?;
    } else if args.markdown {
        out.text(&markdown::render(&tables::Page::new(&diff, limits)))?;
    } else {
        out.text(&text::render(&tables::Page::new(&diff, limits)))?;
    }
    Ok(u8::from(args.exit_code && !diff.identical))
}
