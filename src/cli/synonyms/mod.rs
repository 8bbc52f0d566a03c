//! Command lines as people from other tools write them.

use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use serde::Deserialize;

mod command;
mod option;

pub(crate) use option::explain_variable;

static SYNONYMS: LazyLock<Synonyms> =
    LazyLock::new(|| toml::from_str(include_str!("synonyms.toml")).expect("the tests read it"));

/// The tables of `synonyms.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Synonyms {
    command: Vec<Row>,
    option: Vec<Row>,
}

/// Words with one counterpart.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    words: Vec<String>,
    advice: String,
}

/// Replaces one dash by two in front of the long options of `command` and of Packer: `-var` becomes `--var`.
pub(crate) fn with_double_dashes(
    command: &Command,
    arguments: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let mut options = long_options(command);
    let known = SYNONYMS.option.iter().flat_map(|row| &row.words);
    options.extend(known.filter_map(|word| word.strip_prefix("--").map(str::to_owned)));
    let mut after_separator = false;
    arguments
        .map(|argument| {
            after_separator |= argument == "--";
            let name = argument.to_str().and_then(|text| text.strip_prefix('-'));
            let name = name.map(|text| text.split('=').next().unwrap_or(text));
            match name {
                Some(name) if !after_separator && name.len() > 1 && options.contains(name) => {
                    let mut long = OsString::from("-");
                    long.push(argument);
                    long
                }
                _ => argument,
            }
        })
        .collect()
}

fn long_options(command: &Command) -> HashSet<String> {
    let own = command.get_arguments().filter_map(Arg::get_long);
    let mut options: HashSet<String> = own.map(str::to_owned).collect();
    options.extend(["help", "version"].map(str::to_owned));
    for verb in command.get_subcommands() {
        options.extend(long_options(verb));
    }
    options
}

/// Replaces clap's text for an unknown command or option, and for a value that is not a number: names the counterpart of another
/// tool's word, or a command that changes nothing.
pub(crate) fn explain(command: &Command, error: clap::Error) -> clap::Error {
    let path = path_of(&error);
    let explained = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text_of(&error, ContextKind::InvalidSubcommand);
            Some(command::unknown(command, &path, word))
        }
        ErrorKind::UnknownArgument => option::unknown(command, &path, &error),
        ErrorKind::InvalidValue => option::unknown_value(&error),
        ErrorKind::ValueValidation => option::wrong_number(&error),
        _ => None,
    };
    match explained {
        Some(text) => with_text(error.kind(), &text),
        None => error,
    }
}

fn with_text(kind: ErrorKind, text: &str) -> clap::Error {
    clap::Error::raw(kind, format!("{text}\n"))
}

fn text_of(error: &clap::Error, kind: ContextKind) -> &str {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text,
        _ => "",
    }
}

/// Returns the advice for the first of these words.
fn advice(rows: &'static [Row], words: &[String]) -> Option<&'static str> {
    let mut rows = words
        .iter()
        .flat_map(|word| rows.iter().filter(|row| row.words.contains(word)));
    rows.next().map(|row| row.advice.as_str())
}

/// Returns the command that an error is about, from its usage line: `["keys"]` for `karat keys`.
fn path_of(error: &clap::Error) -> Vec<String> {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let usage = usage.unwrap_or_default();
    let words = usage.split_whitespace().skip_while(|word| *word != "karat");
    let words = words
        .skip(1)
        .take_while(|word| !word.starts_with(['[', '<', '-']));
    words.map(str::to_owned).collect()
}

fn name_of(path: &[String]) -> String {
    path.iter()
        .fold("karat".to_owned(), |name, word| name + " " + word)
}

/// Returns the command with these words, or the last one that exists.
fn find<'a>(command: &'a Command, path: &[String]) -> &'a Command {
    path.iter().fold(command, |command, word| {
        command.find_subcommand(word).unwrap_or(command)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::main::command;

    /// Returns the text of the error of a command line.
    pub(super) fn explained(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from);
        let arguments = with_double_dashes(&command(), arguments);
        let error = command().try_get_matches_from(arguments).expect_err(line);
        let error = explain(&command(), error);
        assert_eq!(error.exit_code(), 2, "{line}");
        error.to_string()
    }

    #[test]
    fn a_single_dash_in_front_of_a_long_option_is_understood() {
        let arguments = [
            "karat", "build", "-var", "a=b", "-var=c=d", "-o", "-offline", "-only=x", "--var",
            "--", "-var",
        ];
        let arguments = with_double_dashes(&command(), arguments.into_iter().map(OsString::from));
        let expected = [
            "karat",
            "build",
            "--var",
            "a=b",
            "--var=c=d",
            "-o",
            "-offline",
            "--only=x",
            "--var",
            "--",
            "-var",
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn words_are_in_one_row_and_no_words_of_karat() {
        let mut seen = HashSet::new();
        let command = command();
        for word in SYNONYMS.command.iter().flat_map(|row| &row.words) {
            assert!(seen.insert(word), "{word}");
            let path: Vec<String> = word.split(' ').map(str::to_owned).collect();
            let (last, parents) = path.split_last().expect("a word");
            let parent = find(&command, parents);
            assert!(parents.is_empty() || parent.has_subcommands(), "{word}");
            assert!(parent.find_subcommand(last).is_none(), "{word}");
        }
        for word in SYNONYMS.option.iter().flat_map(|row| &row.words) {
            assert!(seen.insert(word), "{word}");
            let line: Vec<&str> = std::iter::once("karat").chain(word.split(' ')).collect();
            let error = command.clone().try_get_matches_from(line).expect_err(word);
            assert_ne!(error.kind(), ErrorKind::InvalidSubcommand, "{word}");
        }
    }
}
