//! `karat completions`

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::Failed;

/// Print shell completions, or write the man pages
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Complete for this shell
    #[arg(value_enum, required_unless_present = "man")]
    shell: Option<Shell>,

    /// Write a man page for every verb into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "shell")]
    man: Option<PathBuf>,
}

/// Prints completions to `out`, or writes the man pages.
///
/// # Errors
/// The directory cannot be written.
pub fn run(
    args: &CompletionsArgs,
    mut command: Command,
    out: &mut dyn Write,
) -> Result<(), Failed> {
    if let Some(shell) = args.shell {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "karat", &mut text);
        out.write_all(&text).map_err(Failed::stdout)?;
    }
    if let Some(directory) = &args.man {
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(command, directory))
            .map_err(|error| Failed::io("cannot write the man pages", error))?;
    }
    Ok(())
}
