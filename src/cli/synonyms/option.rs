//! Options that karat does not have, and values that they do not take.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};

use super::{SYNONYMS, advice, find, name_of, text_of, with_text};
use crate::template::problem::nearest;

/// Words of Rust's standard library for numbers that it cannot parse, and what was expected.
const NUMBER_ERRORS: [(&str, &str); 4] = [
    ("invalid digit found in string", "a whole number"),
    ("cannot parse integer from empty string", "a whole number"),
    ("number too large to fit in target type", "a smaller number"),
    ("number too small to fit in target type", "a larger number"),
];

/// Returns the text for an unknown option; `None` for an argument that is not an option.
pub(super) fn unknown(command: &Command, path: &[String], error: &clap::Error) -> Option<String> {
    let option = text_of(error, ContextKind::InvalidArg);
    let name = option.strip_prefix('-')?;
    let parent = name_of(path);
    let verb = find(command, path);
    let phrase = format!("{} {option}", path.join(" "));
    let known = advice(&SYNONYMS.option, &[phrase, option.to_owned()]).map(str::to_owned);
    let similar = || {
        let option = similar_option(command, verb, name)?;
        Some(format!("did you mean `--{option}`?"))
    };
    let of_guest = || {
        let takes_words = verb.get_positionals().any(Arg::is_last_set);
        takes_words.then(|| {
            format!("options of a command in the guest stand after `--`; `{parent} --help` lists karat's")
        })
    };
    let help = known
        .or_else(|| option_of_command(&parent, option, error))
        .or_else(similar)
        .or_else(of_guest)
        .unwrap_or_else(|| format!("`{parent} --help` lists its options"));
    Some(format!("unknown option `{option}`\n  help: {help}"))
}

/// Returns advice for an option that stands before its command. clap has it as `'list --store' exists`, also for a guess.
fn option_of_command(parent: &str, option: &str, error: &clap::Error) -> Option<String> {
    let Some(ContextValue::StyledStrs(tips)) = error.get(ContextKind::Suggested) else {
        return None;
    };
    let mut tips = tips.iter().map(ToString::to_string);
    tips.find_map(|tip| {
        let words = tip.strip_prefix('\'')?.strip_suffix("' exists")?;
        let is_same = words.ends_with(&format!(" {option}"));
        is_same.then(|| format!("write it after the command: `{parent} {words}`"))
    })
}

/// Returns the long option that `name` misspells or begins.
fn similar_option<'a>(command: &'a Command, verb: &'a Command, name: &str) -> Option<&'a str> {
    let name = name.strip_prefix('-')?;
    let options = || {
        let options = verb.get_arguments().chain(command.get_arguments());
        options
            .filter(|option| !option.is_hide_set())
            .filter_map(Arg::get_long)
    };
    let mut begun = options().filter(|option| option.starts_with(name));
    match (begun.next(), begun.next()) {
        (Some(only), None) => Some(only),
        _ => nearest(name, options()),
    }
}

/// Explains a value that another tool has for the option.
pub(super) fn unknown_value(error: &clap::Error) -> Option<String> {
    let option = text_of(error, ContextKind::InvalidArg).split(' ').next()?;
    let value = text_of(error, ContextKind::InvalidValue);
    let help = advice(&SYNONYMS.option, &[format!("{option} {value}")])?;
    Some(format!(
        "invalid value `{value}` for `{option}`\n  help: {help}"
    ))
}

/// Explains a number that Rust cannot parse.
pub(super) fn wrong_number(error: &clap::Error) -> Option<String> {
    let cause = error.source()?.to_string();
    let number = NUMBER_ERRORS.iter().find(|(text, _)| *text == cause);
    let expected = match (number, cause.split_once(" is not in ")) {
        (Some((_, expected)), _) => (*expected).to_owned(),
        (None, Some((_, range))) => match range.split_once("..=") {
            Some((least, most)) => format!("a whole number from {least} to {most}"),
            None => format!("a whole number from {} on", range.trim_end_matches('.')),
        },
        (None, None) => return None,
    };
    let value = text_of(error, ContextKind::InvalidValue);
    let option = text_of(error, ContextKind::InvalidArg);
    Some(format!(
        "invalid value `{value}` for `{option}`: expected {expected}"
    ))
}

/// Explains an error that the command line alone does not have: an empty variable in the environment.
pub(crate) fn explain_variable(command: &Command, error: clap::Error) -> clap::Error {
    let option = text_of(&error, ContextKind::InvalidArg);
    let value = text_of(&error, ContextKind::InvalidValue);
    match variable_of(command, option) {
        Some(name) if value.is_empty() => {
            let what = format!("the environment variable {name} is empty");
            let help = format!("unset it, or give it a value for `{option}`");
            with_text(error.kind(), &format!("{what}\n  help: {help}"))
        }
        _ => error,
    }
}

/// Returns the environment variable of an option such as `--store <DIR>`.
fn variable_of(command: &Command, option: &str) -> Option<String> {
    let long = option.split(' ').next()?.strip_prefix("--")?;
    let has = |argument: &&Arg| argument.get_long() == Some(long);
    let own = command.get_arguments().find(has).and_then(Arg::get_env);
    let own = own.map(|name| name.to_string_lossy().into_owned());
    own.or_else(|| {
        command
            .get_subcommands()
            .find_map(|verb| variable_of(verb, option))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::main::command;
    use crate::cli::synonyms::long_options;
    use crate::cli::synonyms::tests::explained;

    #[test]
    fn options_of_packer_and_misspelt_ones_are_explained() {
        for (line, expected) in [
            (
                "karat build -only=x web.toml",
                "unknown option `--only`\n  help: a template is one image",
            ),
            ("karat build --except x web.toml", "a template is one image"),
            (
                "karat build -debug web.toml",
                "`karat build --on-error keep TEMPLATE`",
            ),
            ("karat build -color=false web.toml", "NO_COLOR=1"),
            ("karat build -parallel-builds=2 web.toml", "`-j N`"),
            (
                "karat -machine-readable build web.toml",
                "`--log-format json`",
            ),
            ("karat build -timestamp-ui web.toml", "`--log-format json`"),
            (
                "karat validate -syntax-only web.toml",
                "`karat validate TEMPLATE` launches nothing",
            ),
            (
                "karat build -on-error=abort web.toml",
                "invalid value `abort` for `--on-error`\n  help: `--on-error keep`",
            ),
            ("karat init --force", "overwrites no file"),
            ("karat prune --force", "karat does not ask"),
            (
                "karat plan --locked web.toml",
                "`karat build --locked TEMPLATE`",
            ),
            ("karat build --lockd web.toml", "did you mean `--locked`?"),
            ("karat build --forc web.toml", "did you mean `--force`?"),
            (
                "karat build --log-formt=json web.toml",
                "did you mean `--log-format`?",
            ),
            ("karat list --sort", "`karat list --help` lists its options"),
            (
                "karat build -x web.toml",
                "unknown option `-x`\n  help: `karat build --help` lists its options",
            ),
            ("karat --sort list", "`karat --help` lists its options"),
            (
                "karat --store x list",
                "after the command: `karat list --store`",
            ),
            (
                "karat keys --trust x list",
                "after the command: `karat keys list --trust`",
            ),
            ("karat run web -la", "stand after `--`"),
            (
                "karat run --cpus two web",
                "invalid value `two` for `--cpus <N>`: expected a whole number\n",
            ),
            (
                "karat build -j 0 web.toml",
                "expected a whole number from 1 to 65535\n",
            ),
            ("karat audit --last -1", "unknown option `-1`"),
        ] {
            let text = explained(line);
            assert!(text.contains(expected), "{line}: {text}");
            assert!(!text.contains("-- -"), "{line}: {text}");
        }
    }

    #[test]
    fn options_in_advice_exist() {
        let options = long_options(&command());
        let rows = SYNONYMS.option.iter().chain(&SYNONYMS.command);
        let words = rows.flat_map(|row| row.advice.split(['`', ' ']));
        let names: Vec<&str> = words.filter_map(|word| word.strip_prefix("--")).collect();
        assert!(names.len() > 10);
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            assert!(options.contains(name), "--{name}");
        }
    }
}
