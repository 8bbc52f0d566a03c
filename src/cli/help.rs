//! Layout of the help: verbs in groups, first steps, examples, exit codes. Options are documented where they are declared.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::examples::EXAMPLES;

/// Verbs by purpose. Hidden verbs are in no group.
const GROUPS: [(&str, &[&str]); 7] = [
    (
        "Write templates",
        &["init", "schema", "validate", "plan", "lock", "outdated"],
    ),
    ("Build images", &["build", "rebuild", "logs", "ssh"]),
    ("Look at images", &["list", "show", "run", "diff", "scan"]),
    (
        "Trust images",
        &["keys", "sign", "attest", "verify", "revoke"],
    ),
    (
        "Release images",
        &["promote", "rollback", "history", "wait"],
    ),
    (
        "Copy images",
        &["publish", "iam-policy", "export", "import"],
    ),
    (
        "Maintain",
        &[
            "pin",
            "unpin",
            "remove",
            "prune",
            "store",
            "audit",
            "db",
            "doctor",
            "version",
            "completions",
            "man",
        ],
    ),
];

/// The way to a first image.
const FIRST_STEPS: &str = "
  karat init web                # write web/web.toml
  karat validate web/web.toml   # check it
  karat build web/web.toml      # build the image and record it";

const MORE: &str =
    "`karat COMMAND -h` lists the options of a command, `--help` explains them and has examples.
Documentation: `man karat-COMMAND`, and docs/README.md in the source.";

const EXIT_CODES: &str = "0 done, 1 failed, 2 invalid input, 3 refused by a policy, 4 verification failed, 130 cancelled";

/// Adds groups, examples and exit codes to the help of `command` and its verbs.
pub(super) fn with_layout(command: Command) -> Command {
    let template = template(&command);
    let command = command
        .mut_args(with_long_help)
        .mut_subcommands(|verb| with_sections(verb, ""));
    let exit_codes = section(&command, "Exit codes", &format!("\n  {EXIT_CODES}"));
    let after_long_help = format!("{exit_codes}\n\n{MORE}");
    command
        .help_template(template)
        .after_help(MORE)
        .after_long_help(after_long_help)
}

/// Gives an option that only the long help shows a text for it: man pages leave its short one out.
fn with_long_help(option: Arg) -> Arg {
    match option.get_help().cloned() {
        Some(help) if option.is_hide_short_help_set() && option.get_long_help().is_none() => {
            option.long_help(help)
        }
        _ => option,
    }
}

/// Ends the long help of a verb, and of the verbs below it, with its examples and the exit codes.
fn with_sections(verb: Command, parent: &str) -> Command {
    let words = format!("{parent} {}", verb.get_name());
    let words = words.trim_start();
    let verb = verb.mut_subcommands(|verb| with_sections(verb, words));
    let mut text = String::new();
    let examples = EXAMPLES.iter().find(|(name, _)| *name == words);
    if let Some((_, lines)) = examples {
        text = section(&verb, "Examples", lines) + "\n\n";
    }
    text += &section(&verb, "Exit codes", &format!("\n  {EXIT_CODES}"));
    verb.after_long_help(text)
}

/// Returns lines below a heading that looks like those of clap.
fn section(command: &Command, heading: &str, lines: &str) -> String {
    let style = command.get_styles().get_header();
    format!("{style}{heading}:{style:#}{lines}")
}

/// Returns the template of the top-level help, which lists the verbs in groups.
fn template(command: &Command) -> String {
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n\n".to_owned();
    text += &section(command, "First steps", FIRST_STEPS);
    let style = command.get_styles().get_literal();
    let names = GROUPS.iter().flat_map(|(_, verbs)| *verbs);
    let width = names.map(|name| name.len()).max().unwrap_or_default();
    for (heading, verbs) in GROUPS {
        let mut lines = String::new();
        for name in verbs {
            let verb = command.find_subcommand(name);
            let about = verb.and_then(Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(lines, "\n  {style}{name:width$}{style:#}  {about}");
        }
        let _ = write!(text, "\n\n{}", section(command, heading, &lines));
    }
    text + "\n\n" + &section(command, "Options", "\n{options}{after-help}")
}

/// Returns a command line that ignores the environment.
pub(super) fn without_environment(command: Command) -> Command {
    command
        .mut_args(|argument| argument.env(None::<&str>))
        .mut_subcommands(without_environment)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::main::command;

    #[test]
    fn every_visible_verb_is_in_one_group() {
        let command = command();
        let visible = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let visible: BTreeSet<&str> = visible.map(Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, verbs)| *verbs)
            .copied()
            .collect();
        assert_eq!(visible, grouped.iter().copied().collect());
        assert_eq!(visible.len(), grouped.len(), "a verb is in two groups");
    }

    #[test]
    fn options_of_the_long_help_alone_are_explained_in_man_pages() {
        let command = command();
        let options = command.get_arguments();
        let hidden: Vec<&Arg> = options
            .filter(|option| option.is_hide_short_help_set())
            .collect();
        assert!(hidden.len() > 2);
        assert!(hidden.iter().all(|option| option.get_long_help().is_some()));
    }

    #[test]
    fn every_visible_verb_has_examples() {
        fn check(verb: &Command, words: &str) {
            let verbs = verb.get_subcommands().filter(|verb| !verb.is_hide_set());
            let mut count = 0;
            for verb in verbs {
                check(verb, format!("{words} {}", verb.get_name()).trim_start());
                count += 1;
            }
            let has_examples = EXAMPLES.iter().any(|(name, _)| *name == words);
            assert!(has_examples || count > 0, "{words}");
        }
        check(&command(), "");
    }

    #[test]
    fn examples_are_valid_and_fit_a_terminal() {
        for (verb, lines) in EXAMPLES {
            let mut lines = lines.lines().skip(1).peekable();
            assert!(lines.peek().is_some(), "{verb}");
            for line in lines {
                assert!(line.len() < 80, "{line}");
                let mut words = shlex::split(line).expect("quotes are closed");
                // The rest is the shell's.
                let is_shell = |word: &String| word.starts_with(['>', '|']);
                words.truncate(words.iter().position(is_shell).unwrap_or(words.len()));
                let start = format!("karat {verb} ");
                assert!(
                    format!("{line} ").trim_start().starts_with(&start),
                    "{line}"
                );
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }
}
