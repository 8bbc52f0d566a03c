//! `karat completions`, and the answers to the shells: verbs and options, image names, ids and channels of the store.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{CompleteEnv, Shells};

use super::CommandError;
use super::shared::stdout::Stdout;
use crate::plan::is_plain_name;
use crate::store::Store;

/// Variable by which a shell asks for completions. Its value is the name of the shell.
const VARIABLE: &str = "KARAT_COMPLETE";

/// Time to read names of images in. A person who waits longer notices it.
const MAX_READING: Duration = Duration::from_millis(50);

/// Print shell completions
///
/// The shell then completes verbs, options, image names, ids and channels.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to print completions for
    #[arg(value_enum, required_unless_present = "man")]
    shell: Option<Shell>,

    // Former name of `karat man --output DIR`.
    #[arg(long, value_name = "DIR", conflicts_with = "shell", hide = true)]
    man: Option<PathBuf>,
}

pub(crate) fn run(
    args: &CompletionsArgs,
    command: Command,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let shells = Shells::builtins();
    let name = args.shell.map(|shell| shell.to_string());
    if let Some(shell) = name.and_then(|name| shells.completer(&name)) {
        let mut text = Vec::new();
        shell
            .write_registration(VARIABLE, "karat", "karat", "karat", &mut text)
            .map_err(|error| CommandError::io("cannot write the completions", &error))?;
        if args.shell == Some(Shell::Zsh) {
            text = completing_when_autoloaded(&text);
        }
        out.bytes(&text)?;
    }
    if let Some(directory) = &args.man {
        super::man::write(directory, command)?;
    }
    Ok(())
}

/// Lets the script for zsh answer when zsh has loaded it from `fpath`, as the function `_karat` at the first Tab. It is not run
/// again to answer after it has registered its function.
fn completing_when_autoloaded(script: &[u8]) -> Vec<u8> {
    let script = String::from_utf8_lossy(script);
    let register = "compdef _clap_dynamic_completer_karat karat";
    let register_or_answer = format!(
        "if [ \"$funcstack[1]\" = \"_karat\" ]; then
    _clap_dynamic_completer_karat \"$@\"
else
    {register}
fi"
    );
    script.replace(register, &register_or_answer).into_bytes()
}

/// Answers a shell that asks for completions. Returns false if none does. An error is an answer without candidates, because its
/// text would end up in the user's command line.
pub(super) fn answer(command: fn() -> Command) -> bool {
    let directory = std::env::current_dir().ok();
    let factory = || command().mut_subcommands(with_candidates);
    CompleteEnv::with_factory(factory)
        .var(VARIABLE)
        .bin("karat")
        .try_complete(std::env::args_os(), directory.as_deref())
        .unwrap_or(true)
}

/// Lets the arguments of a verb that name images or channels complete to those of the store.
fn with_candidates(verb: Command) -> Command {
    verb.mut_args(|argument| {
        let names = argument.get_value_names().unwrap_or_default();
        let names: Vec<String> = match names {
            [] => vec![argument.get_id().as_str().to_uppercase()],
            names => names
                .iter()
                .flat_map(|name| name.split('|'))
                .map(str::to_owned)
                .collect(),
        };
        let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
        if !argument.is_positional() && !has(&["CHANNEL"]) {
            return argument;
        }
        let completer = if has(&["ID", "IDS", "A", "B"]) {
            ArgValueCompleter::new(images)
        } else if has(&["CHANNEL"]) {
            ArgValueCompleter::new(channels)
        } else {
            return argument;
        };
        if has(&["FILE", "DIR", "IMAGE", "TEMPLATE"]) {
            return argument.add(ArgValueCompleter::new(images_and_files));
        }
        argument.add(completer)
    })
}

fn images_and_files(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut candidates = images(current);
    candidates.extend(PathCompleter::any().complete(current));
    candidates
}

/// Returns names, ids and channels.
fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut candidates = channels(current);
    let (Some(store), Some(text)) = (store(), current.to_str()) else {
        return candidates;
    };
    let began = Instant::now();
    let mut names = BTreeSet::new();
    for id in store.ids().unwrap_or_default() {
        if began.elapsed() > MAX_READING {
            break;
        }
        let name = store.name_of(id).filter(|name| is_plain_name(name));
        // Without a digit of an id, names are what a person looks for.
        if !text.is_empty() && id.to_string().starts_with(text) {
            let help = name.clone().map(Into::into);
            candidates.push(CompletionCandidate::new(id.short()).help(help));
        }
        names.extend(name);
    }
    let names = names.into_iter().filter(|name| name.starts_with(text));
    candidates.extend(names.map(CompletionCandidate::new));
    candidates
}

fn channels(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = store().and_then(|store| store.channels().ok());
    let names = names.unwrap_or_default().into_iter();
    let names = names.map(|name| name.to_string());
    let text = current.to_string_lossy();
    names
        .filter(|name| name.starts_with(&*text))
        .map(CompletionCandidate::new)
        .collect()
}

/// Returns the store that the command line being completed is about.
fn store() -> Option<Store> {
    let words: Vec<_> = std::env::args_os().collect();
    let named = words.iter().enumerate().find_map(|(index, word)| {
        let word = word.to_str()?;
        if word == "--store" {
            return words.get(index + 1).map(PathBuf::from);
        }
        word.strip_prefix("--store=").map(PathBuf::from)
    });
    let named = named.or_else(|| std::env::var_os("KARAT_STORE").map(PathBuf::from));
    match named {
        Some(root) => Some(Store::new(root)),
        None => Store::of_user().ok(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;
    use crate::cli::main::command;

    #[test]
    fn arguments_that_name_images_complete_to_them() {
        for (verb, argument) in [
            ("show", "id"),
            ("remove", "ids"),
            ("diff", "first"),
            ("promote", "channel"),
            ("rollback", "to"),
            ("scan", "target"),
            ("verify", "subject"),
        ] {
            let verb = command().find_subcommand(verb).expect("a verb").clone();
            let verb = with_candidates(verb);
            let argument = verb
                .get_arguments()
                .find(|found| found.get_id() == argument);
            let argument: &Arg = argument.expect("an argument");
            assert!(argument.get::<ArgValueCompleter>().is_some(), "{argument}");
        }
    }
}
