//! `karat man`

use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};

use super::CommandError;
use super::shared::stdout::Stdout;

/// Print the man page of karat, or write those of all verbs
///
/// `karat man | man -l -` shows the page.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a man page for each verb to this directory
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn run(args: &ManArgs, command: Command, out: &mut Stdout) -> Result<(), CommandError> {
    if let Some(directory) = &args.directory {
        return write(directory, command);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(documented(command))
        .render(&mut page)
        .map_err(|error| CommandError::stdout(&error))?;
    out.bytes(&page)
}

/// Writes a man page for each verb.
pub(crate) fn write(directory: &Path, command: Command) -> Result<(), CommandError> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(documented(command), directory))
        .map_err(|error| CommandError::io("cannot write the man pages", &error))
}

/// Returns the command with the synopses of its man pages.
fn documented(command: Command) -> Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    with_synopsis(command)
}

/// Adds synopses with the values of options. Those that clap makes leave them out.
fn with_synopsis(command: Command) -> Command {
    let command = command.mut_subcommands(with_synopsis);
    let name = command.get_bin_name().unwrap_or("karat").to_owned();
    let is_shown = |option: &&Arg| {
        let is_own = !["help", "version"].contains(&option.get_id().as_str());
        is_own && !option.is_hide_set() && !option.is_positional()
    };
    let options = command.get_arguments().filter(is_shown);
    let options = options.map(|option| {
        if option.is_required_set() {
            option.to_string()
        } else {
            format!("[{option}]")
        }
    });
    let positionals = command.get_positionals().map(ToString::to_string);
    let verb = command.has_subcommands().then(|| "<COMMAND>".to_owned());
    let words: Vec<String> = [name]
        .into_iter()
        .chain(options)
        .chain(positionals)
        .chain(verb)
        .collect();
    command.override_usage(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_synopsis_has_the_values_of_options() {
        let command = documented(crate::cli::main::command());
        let build = command.find_subcommand("build").expect("a verb");
        let mut page = Vec::new();
        clap_mangen::Man::new(build.clone())
            .render(&mut page)
            .unwrap();
        let page = String::from_utf8(page).unwrap().replace('\\', "");
        let sections: Vec<&str> = page.split(".SH ").collect();
        let synopsis = sections.iter().find(|text| text.starts_with("SYNOPSIS"));
        let synopsis = synopsis.expect("the page has one");
        for words in ["karat build", "[--var <NAME=VALUE>]", "<TEMPLATE>..."] {
            assert!(synopsis.contains(words), "{synopsis}");
        }
    }
}
