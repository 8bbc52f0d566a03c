//! Commands that karat does not have.

use clap::Command;

use super::{SYNONYMS, advice, find, name_of};
use crate::template::problem::nearest;

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
    "keys list",
    "store status",
    "audit verify",
    "db status",
];

/// Returns the text for an unknown command: the counterpart of another tool's command, or a command that changes nothing.
pub(super) fn unknown(command: &Command, path: &[String], word: &str) -> String {
    let parent = name_of(path);
    let phrase = [path, &[word.to_owned()]].concat().join(" ");
    let help = advice(&SYNONYMS.command, &[phrase]).map(str::to_owned);
    let help = help.or_else(|| similar(command, path, word));
    let help = help.unwrap_or_else(|| {
        let which = if path.is_empty() { "all" } else { "its" };
        format!("`{parent} --help` lists {which} commands")
    });
    format!("unknown command `{parent} {word}`\n  help: {help}")
}

/// Returns advice for a misspelt command. A guess is never a command that changes something, but the misspelt word of another
/// tool gets its advice.
fn similar(command: &Command, path: &[String], word: &str) -> Option<String> {
    let prefix: String = path.iter().flat_map(|word| [word, " "]).collect();
    let commands = find(command, path).get_subcommands().map(Command::get_name);
    let own = nearest(word, commands);
    let words = SYNONYMS.command.iter().flat_map(|row| &row.words);
    let words = words.filter_map(|word| word.strip_prefix(&prefix));
    let other = nearest(word, words.filter(|word| !word.contains(' ')));
    let distance = |other: &str| strsim::damerau_levenshtein(word, other);
    match (own, other) {
        (own, Some(other)) if own.is_none_or(|own| distance(other) < distance(own)) => {
            advice(&SYNONYMS.command, &[prefix + other]).map(str::to_owned)
        }
        (Some(own), _) => {
            let phrase = prefix + own;
            let is_harmless = HARMLESS.contains(&phrase.as_str());
            is_harmless.then(|| format!("did you mean `karat {phrase}`?"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::synonyms::tests::explained;

    #[test]
    fn an_unknown_command_is_explained_and_never_guessed_to_be_one_that_changes_something() {
        for (line, expected) in [
            ("karat rm", "`karat remove ID` removes an image"),
            (
                "/usr/bin/karat-0.2 rm",
                "`karat remove ID` removes an image",
            ),
            ("karat vrify", "did you mean `karat verify`?"),
            ("karat destory", "`karat prune --runs` deletes leftovers"),
            ("karat imags", "`karat list` lists"),
            ("karat prun", "`karat --help` lists all commands"),
            ("karat revok", "`karat --help` lists all commands"),
            ("karat stor", "`karat --help` lists all commands"),
            ("karat undo", "`karat rollback CHANNEL`"),
            ("karat keys revok", "`karat keys --help` lists its commands"),
            ("karat keys lst", "did you mean `karat keys list`?"),
            ("karat keys gen", "`karat keys generate`"),
            ("/x/kb21 keys remove", "`karat keys revoke KEY.pub`"),
            ("karat --quiet db create", "`karat db update`"),
            ("karat db statu", "did you mean `karat db status`?"),
            ("karat store stat", "did you mean `karat store status`?"),
        ] {
            let text = explained(line);
            assert!(text.starts_with("error: unknown command `karat "), "{text}");
            assert!(
                text.contains(&format!("\n  help: {expected}")),
                "{line}: {text}"
            );
        }
    }
}
