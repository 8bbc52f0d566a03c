//! `karat diff`

mod gather;
mod markdown;
mod tables;
mod text;

use clap::{Args, ValueEnum};

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

    /// Format of the output on stdout
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: DiffFormat,

    #[arg(long, hide = true, conflicts_with = "format")]
    json: bool,

    #[arg(long, hide = true, conflicts_with_all = ["json", "format"])]
    markdown: bool,

    /// List all files and CVEs, not only the first ones of each package
    #[arg(long)]
    all: bool,

    /// Exit with 1 if the images differ, with 0 if not, and with 2 or more after an error
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// Format of the differences.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum DiffFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// One JSON object on one line
    Jsonl,
    /// Markdown tables, for a comment on a pull request
    Markdown,
}

impl DiffArgs {
    fn format(&self) -> DiffFormat {
        match (self.json, self.markdown) {
            (true, _) => DiffFormat::Json,
            (_, true) => DiffFormat::Markdown,
            _ => self.format,
        }
    }
}

/// Prints the differences. Returns the exit code.
pub(crate) async fn run(args: &DiffArgs, out: &mut Stdout) -> Result<u8, CommandError> {
    let code = print(args, out).await;
    match code {
        // 1 means that the images differ, as it does for diff(1) and git.
        Err(error) if args.exit_code && error.exit_code() == 1 => Err(error.with_exit_code(2)),
        code => code,
    }
}

async fn print(args: &DiffArgs, out: &mut Stdout) -> Result<u8, CommandError> {
    let store = args.store.open()?;
    let diff = gather::diff(&store, &args.first, &args.second).await?;
    let limits = if args.all {
        tables::Limits::NONE
    } else {
        tables::Limits::DEFAULT
    };
    let page = || tables::Page::new(&diff, limits);
    match args.format() {
        DiffFormat::Text => out.text(&text::render(&page()))?,
        DiffFormat::Json => out.json(&diff)?,
        DiffFormat::Jsonl => out.json_line(&diff)?,
        DiffFormat::Markdown => out.text(&markdown::render(&page()))?,
    }
    Ok(u8::from(args.exit_code && !diff.identical))
}
