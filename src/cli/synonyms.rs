//! Command lines as people from other tools write them.

use std::collections::HashSet;
use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::template::problem::nearest;

/// Verbs of other tools, and karat's counterpart.
const SYNONYMS: &[(&[&str], &str)] = &[
    (
        &["rm", "delete", "rmi"],
        "`karat remove ID` removes an image; `karat prune` deletes images that nothing references",
    ),
    (
        &["gc", "clean", "cleanup"],
        "`karat prune` deletes unreferenced images, `karat prune --runs` leftovers of killed builds",
    ),
    (
        &["destroy"],
        "`karat prune --runs` deletes leftovers of killed builds; other builds leave none",
    ),
    (
        &["images", "image", "ls", "ps"],
        "`karat list` lists the images in the store",
    ),
    (
        &["inspect", "info", "describe"],
        "`karat show ID` shows an image; `karat plan TEMPLATE` shows what a template will do",
    ),
    (
        &["boot", "start", "exec"],
        "`karat run ID` boots an image, `karat run ID -- COMMAND` runs a command in it; `karat ssh` logs in to a kept guest",
    ),
    (
        &["log"],
        "`karat logs` prints the log of a build; `karat audit` shows the changes of the store",
    ),
    (
        &["update", "upgrade"],
        "`karat lock --update TEMPLATE` takes newer packages; `karat db update` fetches vulnerability data",
    ),
    (
        &["pull", "fetch", "download"],
        "`karat import ID --from DIR` copies an image from another store",
    ),
    (
        &["push", "upload"],
        "`karat publish ID` registers AMIs; `karat export ID -o FILE` writes the disk",
    ),
    (
        &["tag"],
        "`karat promote ID CHANNEL` points a channel at an image",
    ),
    (
        &["fix", "hcl2_upgrade", "fmt", "console"],
        "karat reads TOML: `karat validate TEMPLATE` checks it",
    ),
    (&["plugins", "install"], "karat has no plugins"),
    (
        &["create", "new"],
        "`karat init` writes a template to start from",
    ),
    (
        &["check", "lint", "test"],
        "`karat validate TEMPLATE` checks a template; `karat build` runs its tests",
    ),
    (&["apply", "make"], "`karat build TEMPLATE` builds an image"),
];

/// Verbs that change nothing. A guess by the distance of letters is never another one.
const HARMLESS: &[&str] = &[
    "validate",
    "plan",
    "list",
    "show",
    "diff",
    "outdated",
    "history",
    "wait",
    "verify",
    "audit",
    "logs",
    "scan",
    "completions",
    "iam-policy",
    "version",
    "schema",
    "man",
    "doctor",
];

/// Replaces one dash by two in front of the long options of `command`: `-var` becomes `--var`.
pub(crate) fn with_double_dashes(
    command: &Command,
    arguments: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let options = long_options(command);
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
    let own = command.get_arguments().filter_map(clap::Arg::get_long);
    let mut options: HashSet<String> = own.map(str::to_owned).collect();
    options.extend(["help", "version"].map(str::to_owned));
    for verb in command.get_subcommands() {
        options.extend(long_options(verb));
    }
    options
}

/// Replaces clap's guess at an unknown verb: names the counterpart of another tool's verb, or a verb that changes nothing.
pub(crate) fn explain(command: &Command, error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let parent = parent(&error);
    let known = SYNONYMS
        .iter()
        .find(|(words, _)| words.contains(&verb.as_str()));
    let help = match (known, nearest(verb, HARMLESS.iter().copied())) {
        _ if parent != command.get_name() => format!("`{parent} --help` lists its commands"),
        (Some((_, advice)), _) => (*advice).to_owned(),
        (None, Some(verb)) => format!("did you mean `karat {verb}`?"),
        (None, None) => "`karat --help` lists all commands".to_owned(),
    };
    let message = format!("unknown command `{parent} {verb}`\n  help: {help}");
    clap::Error::raw(ErrorKind::InvalidSubcommand, format!("{message}\n"))
}

/// Returns the command whose verb is unknown, as in `karat keys`, from the usage line of the error.
fn parent(error: &clap::Error) -> String {
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let usage = usage.unwrap_or_default();
    let words = usage.split_whitespace().skip_while(|word| *word != "karat");
    let words: Vec<&str> = words
        .take_while(|word| !word.starts_with(['[', '<']))
        .collect();
    if words.is_empty() {
        "karat".to_owned()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn command() -> Command {
        let keys = Command::new("keys")
            .subcommand(Command::new("revoke"))
            .subcommand_required(true);
        let build = Command::new("build")
            .arg(Arg::new("var").long("var"))
            .arg(Arg::new("output").short('o').long("output"));
        Command::new("karat")
            .subcommand_required(true)
            .subcommand(keys)
            .subcommand(build)
    }

    #[test]
    fn a_single_dash_in_front_of_a_long_option_is_understood() {
        let arguments = [
            "karat", "build", "-var", "a=b", "-var=c=d", "-o", "-offline", "--var", "--", "-var",
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
            "--var",
            "--",
            "-var",
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn an_unknown_verb_is_explained_and_never_guessed_to_be_one_that_changes_something() {
        for (arguments, expected) in [
            (
                &["karat", "rm"][..],
                "unknown command `karat rm`\n  help: `karat remove ID`",
            ),
            (&["karat", "vrify"], "did you mean `karat verify`?"),
            (&["karat", "prun"], "`karat --help` lists all commands"),
            (
                &["karat", "keys", "revok"],
                "unknown command `karat keys revok`\n  help: `karat keys --help`",
            ),
        ] {
            let error = command().try_get_matches_from(arguments).unwrap_err();
            let error = explain(&command(), error);
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
