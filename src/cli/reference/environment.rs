//! The table of karat's variables in `docs/reference/environment.md`, generated from `os::environment`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Command;

use super::check;
use crate::os::environment::{ALL, VAR, Variable};

/// Line above the table.
const MARK: &str = "<!-- variables -->\n";

/// Returns the page with its table as the code has it.
fn page(written: &str) -> String {
    let (head, rest) = written.split_once(MARK).expect("the page has the mark");
    let rest = rest.trim_start_matches('\n');
    let (_, rest) = rest.split_once("\n\n").unwrap_or_default();
    let options = options(&crate::cli::main::command());
    let mut table = "\n| variable | option | meaning | default |\n".to_owned();
    table += "| --- | --- | --- | --- |\n";
    for Variable {
        name,
        meaning,
        default,
    } in ALL
    {
        let option = match options.get(name) {
            Some(option) => format!("`--{option}`"),
            None if name == VAR.name => "`--var`".to_owned(),
            None => "none".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| `{name}` | {option} | {meaning} | {default} |");
    }
    format!("{head}{MARK}{table}\n{rest}")
}

/// Returns the options that have an environment variable, by its name.
fn options(command: &Command) -> BTreeMap<String, String> {
    let arguments = command.get_arguments();
    let own = arguments.filter_map(|argument| {
        let variable = argument.get_env()?.to_str()?;
        Some((variable.to_owned(), argument.get_long()?.to_owned()))
    });
    let verbs = command.get_subcommands().flat_map(options);
    own.chain(verbs).collect()
}

#[test]
fn the_environment_reference_is_up_to_date() {
    check("docs/reference/environment.md", page);
}

#[test]
fn every_variable_of_an_option_is_in_the_table() {
    for (variable, option) in options(&crate::cli::main::command()) {
        assert!(
            ALL.iter().any(|known| known.name == variable),
            "{variable} of --{option} is not in os::environment"
        );
    }
}
