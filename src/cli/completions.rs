//! `karat completions`

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::CommandError;
use super::shared::stdout::Stdout;

/// Print shell completions
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to print completions for
    #[arg(value_enum, required_unless_present = "man")]
    shell: Option<Shell>,

    // Former name of `karat man DIR`.
    #[arg(long, value_name = "DIR", conflicts_with = "shell", hide = true)]
    man: Option<PathBuf>,
}

pub(crate) fn run(
    args: &CompletionsArgs,
    mut command: Command,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    if let Some(shell) = args.shell {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "karat", &mut text);
        out.bytes(&text)?;
    }
    if let Some(directory) = &args.man {
        super::man::write(directory, command)?;
    }
    Ok(())
}
