//! Every karat command in the documentation and in karat's own advice, read by clap.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use regex::Regex;

use super::in_repository;

/// A command of a text, without `karat`.
struct Found {
    words: Vec<String>,
    /// True for a line of a code block, which is a whole command. Sentences may leave arguments out.
    is_whole: bool,
}

/// Splits off the first shell command of a line: words up to an operator or a comment.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut is_start) = (None, true);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            (None, ')' | '|' | ';' | '&' | '<' | '>' | '`') => break,
            (None, '#') if is_start => break,
            (None, ' ') => words.push(String::new()),
            (_, letter) => words
                .last_mut()
                .expect("it is has a first word")
                .push(letter),
        }
        is_start = quote.is_none() && letter == ' ';
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns the commands of a Markdown page: in code blocks, and between backticks.
fn commands_of_page(page: &str) -> Vec<Found> {
    let command = Regex::new(r"(?:^|[ (])karat ([a-z-].*)$").unwrap();
    let span = Regex::new(r"`karat ([^`]+)`").unwrap();
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in page.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if (is_fenced || line.starts_with("    ")) && !line.contains("[OPTIONS]") {
            found.extend(command.captures_iter(line).map(|line| Found {
                words: words(&line[1]),
                is_whole: true,
            }));
        }
        found.extend(span.captures_iter(line).map(|text| Found {
            words: words(&text[1]),
            is_whole: false,
        }));
    }
    found
}

/// Returns the commands between backticks in a source, without its tests. Each `{}` stands for a value.
fn commands_of_source(source: &str) -> Vec<Found> {
    let (source, _) = source
        .split_once("#[cfg(test)]\nmod tests")
        .unwrap_or((source, ""));
    let span = Regex::new(r"`karat ([^`]+)`").unwrap();
    let value = Regex::new(r"\{[^}]*\}").unwrap();
    let join = Regex::new(r"\\?\n\s*(///)?\s*").unwrap();
    let source = join.replace_all(source, " ");
    let spans = span.captures_iter(&source);
    let words = spans.map(|text| Found {
        words: words(&value.replace_all(&text[1], "VALUE")),
        is_whole: false,
    });
    words.collect()
}

/// Returns clap's verdict on a command; `None` if it is a command of karat.
fn refusal(found: &Found) -> Option<String> {
    let arguments = std::iter::once("karat").chain(found.words.iter().map(String::as_str));
    let error = crate::cli::main::command()
        .try_get_matches_from(arguments)
        .err()?;
    let accepted = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = text_of(&error, ContextKind::InvalidValue);
            // A sentence may leave the value out: `karat scan --policy`.
            is_placeholder(value) || value.is_empty() && !found.is_whole
        }
        ErrorKind::InvalidSubcommand => {
            is_placeholder(text_of(&error, ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !found.is_whole,
        _ => false,
    };
    (!accepted).then(|| error.to_string())
}

/// Returns the text that an error is about.
fn text_of(error: &clap::Error, kind: ContextKind) -> &str {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text,
        _ => "",
    }
}

/// Returns true for a word such as ID, or a variable of the shell.
fn is_placeholder(value: &str) -> bool {
    value.contains('$') || value.chars().any(|letter| letter.is_ascii_uppercase())
}

/// Returns the files below a directory with an extension.
fn files(directory: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let found = entries.flat_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return files(&path, extension);
        }
        let matches = path.extension().is_some_and(|found| found == extension);
        Vec::from_iter(matches.then_some(path))
    });
    found.collect()
}

#[test]
fn documentation_and_advice_name_existing_verbs_and_options() {
    let mut pages = vec![in_repository("README.md")];
    pages.extend(files(&in_repository("docs"), "md"));
    pages.extend(files(&in_repository("examples"), "md"));
    let mut sources = files(&in_repository("src"), "rs");
    sources.extend(files(&in_repository("src"), "toml"));
    sources.retain(|path| !path.starts_with(in_repository("src/cli/reference")));
    let (mut count, mut wrong) = (0, Vec::new());
    for path in pages.iter().chain(&sources) {
        let text = std::fs::read_to_string(path).unwrap();
        let found = if path.extension().is_some_and(|extension| extension == "md") {
            commands_of_page(&text)
        } else {
            commands_of_source(&text)
        };
        count += found.len();
        for command in found {
            if let Some(error) = refusal(&command) {
                let command = command.words.join(" ");
                wrong.push(format!("{}: karat {command}: {error}", path.display()));
            }
        }
    }
    assert!(count > 300, "{count} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_are_found_and_wrong_ones_refused() {
    for (line, expected) in [
        ("    id=$(karat build web.toml)", vec!["build", "web.toml"]),
        (
            "    karat diff \"$id\" b --all >x # y",
            vec!["diff", "$id", "b", "--all"],
        ),
        ("Use `karat keys trust`, then", vec!["keys", "trust"]),
    ] {
        let found = commands_of_page(line);
        assert_eq!(found.len(), 1, "{line}");
        assert_eq!(found[0].words, expected);
        assert!(refusal(&found[0]).is_none(), "{line}");
    }
    for line in [
        "    karat biuld x",
        "`karat list --alll`",
        "    karat validate",
        "    karat list a b",
    ] {
        let found = commands_of_page(line);
        assert!(found.iter().all(|found| refusal(found).is_some()), "{line}");
    }
}
