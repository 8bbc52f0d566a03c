//! `karat man`

use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use miette::Diagnostic;
use thiserror::Error;

use super::shared::stdout::Stdout;
use super::{CommandError, ExitStatus};
use crate::template::problem::did_you_mean;

/// Print the man page of karat or of a command, or write all of them
///
/// `karat man build | man -l -` shows the page of `karat build`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command whose page to print, such as `build` or `keys generate` [default: karat itself]
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    verb: Vec<String>,

    /// Write a man page for each command to this directory
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

#[derive(Debug, Error, Diagnostic)]
#[error("unknown command `{verb}`")]
#[diagnostic(help("{}", help))]
struct UnknownVerb {
    verb: String,
    help: String,
}

impl ExitStatus for UnknownVerb {
    const EXIT_CODE: u8 = 2;
}

pub(crate) fn run(args: &ManArgs, command: Command, out: &mut Stdout) -> Result<(), CommandError> {
    if let Some(directory) = args
        .output
        .as_deref()
        .or_else(|| former_directory(args, &command))
    {
        return write(directory, command);
    }
    let command = documented(command);
    let mut page = Vec::new();
    clap_mangen::Man::new(find(&command, &args.verb)?.clone())
        .render(&mut page)
        .map_err(|error| CommandError::stdout(&error))?;
    out.bytes(&page)
}

/// Returns the directory of the former `karat man DIR`: an argument that is not a command, but a path or an existing directory.
fn former_directory<'a>(args: &'a ManArgs, command: &Command) -> Option<&'a Path> {
    let [word] = &args.verb[..] else { return None };
    let is_path = word.contains('/') || Path::new(word).is_dir();
    (is_path && command.find_subcommand(word).is_none()).then(|| Path::new(word))
}

fn find<'a>(mut command: &'a Command, words: &[String]) -> Result<&'a Command, UnknownVerb> {
    for (index, word) in words.iter().enumerate() {
        command = command.find_subcommand(word).ok_or_else(|| {
            let verbs = command.get_subcommands().map(Command::get_name);
            let help = did_you_mean(word, verbs);
            let help = help.unwrap_or_else(|| {
                "`karat --help` lists the commands; `--output DIR` writes all pages".to_owned()
            });
            UnknownVerb {
                verb: format!("karat {}", words[..=index].join(" ")),
                help,
            }
        })?;
    }
    Ok(command)
}

/// Writes a man page for each command.
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
