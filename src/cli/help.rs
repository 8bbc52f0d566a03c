//! Layout of the help: verbs in groups, first steps, examples, exit codes. Options are documented where they are declared.

use std::fmt::Write as _;

use clap::{Arg, Command};

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

/// Examples of the verbs that people use most. `tests/store/examples.rs` runs those that need no guest.
const EXAMPLES: [(&str, &str); 20] = [
    (
        "init",
        "
  karat init web                        # write web/web.toml
  karat init shop.toml --name web-shop  # another file, another image name",
    ),
    (
        "validate",
        "
  karat validate web.toml
  karat validate *.toml                 # skips lock files",
    ),
    (
        "plan",
        "
  karat plan web.toml
  karat plan web.toml --format json",
    ),
    (
        "lock",
        "
  karat lock web.toml                   # write web.lock.toml
  karat lock --update web.toml          # newest version of every package
  karat lock -P nginx web.toml          # newest version of nginx",
    ),
    (
        "build",
        "
  karat build web.toml
  karat build --jobs 2 web.toml mail.toml
  karat build --locked --if-changed web.toml
  karat build web.toml --format json",
    ),
    (
        "rebuild",
        "
  karat rebuild web                     # newest image of that name
  karat rebuild web/stable --format json",
    ),
    (
        "list",
        "
  karat list
  karat list --format jsonl             # one image per line, for scripts",
    ),
    (
        "show",
        "
  karat show web                        # newest image of that name
  karat show web/stable                 # image that the channel points at
  karat show web --lineage              # its bases, and what is built on it
  karat show web --format json          # its manifest",
    ),
    (
        "diff",
        "
  karat diff web/stable web             # from the released image to the newest
  karat diff web/stable web --format markdown
  karat diff --exit-code web/stable web/testing",
    ),
    (
        "scan",
        "
  karat scan web
  karat scan web.qcow2 --without vulnerabilities
  karat scan web --policy web.toml --sarif web.sarif --sbom web.cdx.json",
    ),
    (
        "promote",
        "
  karat promote web web/testing         # newest image of that name
  karat promote web/testing web/stable --check
  karat promote web/testing web/stable --reason \"tests passed\"",
    ),
    (
        "rollback",
        "
  karat rollback web/stable --check     # rehearse it
  karat rollback web/stable --reason \"login fails\"",
    ),
    (
        "sign",
        "
  karat sign web                        # newest image of that name
  karat sign web/testing --key ada      # with another key",
    ),
    (
        "verify",
        "
  karat verify                          # whole store
  karat verify web/stable --require 2   # signatures of two keys
  karat verify web.qcow2                # an exported image",
    ),
    (
        "keys",
        "
  karat keys generate                   # key that builds sign with
  karat keys trust ada ada.pub          # accept the signatures of another key
  karat keys list",
    ),
    (
        "remove",
        "
  karat remove mail                       # newest image of that name
  karat remove 3aaf264e1bdf 8b411f57bc64  # an image and its base",
    ),
    (
        "prune",
        "
  karat prune --dry-run                 # what would be marked or deleted
  karat prune --keep 3 --keep-within 14d
  karat prune --runs                    # leftovers of killed builds",
    ),
    (
        "export",
        "
  karat export web -o web.qcow2         # newest image of that name
  karat export web/stable -o .          # as web.qcow2 in this directory",
    ),
    (
        "import",
        "
  karat import disk.qcow2 --name mail   # image of another builder
  karat import web --from other-store   # copy from the store in that directory",
    ),
    (
        "publish",
        "
  karat publish web/stable              # in the regions of its template
  karat publish web --region eu-central-1 --verify",
    ),
];

/// Adds groups, examples and exit codes to the help of `command` and its verbs.
pub(super) fn with_layout(command: Command) -> Command {
    let template = template(&command);
    let command = command.mut_args(with_long_help).mut_subcommands(|verb| {
        let example = EXAMPLES.iter().find(|(name, _)| *name == verb.get_name());
        with_sections(verb, example.map(|(_, lines)| *lines))
    });
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
fn with_sections(verb: Command, examples: Option<&str>) -> Command {
    let verb = verb.mut_subcommands(|verb| with_sections(verb, None));
    let mut text = String::new();
    if let Some(lines) = examples {
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
    fn examples_are_valid_and_fit_a_terminal() {
        for (verb, lines) in EXAMPLES {
            let mut lines = lines.lines().skip(1).peekable();
            assert!(lines.peek().is_some(), "{verb}");
            for line in lines {
                assert!(line.len() < 80, "{line}");
                let words = shlex::split(line).expect("quotes are closed");
                assert_eq!(words[..2], ["karat", verb]);
                let parsed = command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }
}
