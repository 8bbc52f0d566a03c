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
use crate::fetch::Cache;
use crate::plan::is_plain_name;
use crate::record::manifest::ManifestId;
use crate::store::Store;
use crate::ui::log_directory;

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
        } else if has(&["NAME"]) {
            ArgValueCompleter::new(image_names)
        } else if has(&["BUILD"]) {
            ArgValueCompleter::new(builds)
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
    let mut names = BTreeSet::new();
    for (id, name) in named_images(&store) {
        // Without a digit of an id, names are what a person looks for.
        if !text.is_empty() && id.to_string().starts_with(text) {
            let help = name.clone().map(Into::into);
            candidates.push(CompletionCandidate::new(id.short()).help(help));
        }
        names.extend(name);
    }
    candidates.extend(starting_with(current, names));
    candidates
}

fn image_names(current: &OsStr) -> Vec<CompletionCandidate> {
    let images = store().map(|store| named_images(&store));
    let names = images.into_iter().flatten().filter_map(|(_, name)| name);
    starting_with(current, names.collect::<BTreeSet<_>>())
}

/// Returns images with their names: all that can be read in time.
fn named_images(store: &Store) -> Vec<(ManifestId, Option<String>)> {
    let began = Instant::now();
    let ids = store.ids().unwrap_or_default().into_iter();
    let ids = ids.take_while(|_| began.elapsed() <= MAX_READING);
    let name = |id| store.name_of(id).filter(|name| is_plain_name(name));
    ids.map(|id| (id, name(id))).collect()
}

/// Returns the images and builds that have logs.
fn builds(current: &OsStr) -> Vec<CompletionCandidate> {
    let logs = Cache::of_user().map(|cache| log_directory::list(&cache.logs()));
    let logs = logs.ok().and_then(Result::ok).unwrap_or_default();
    let names = logs.into_iter().flat_map(|log| [log.image, log.build]);
    starting_with(current, names.collect::<BTreeSet<_>>())
}

fn channels(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = store().and_then(|store| store.channels().ok());
    let names = names.unwrap_or_default().into_iter();
    starting_with(current, names.map(|name| name.to_string()))
}

fn starting_with(
    current: &OsStr,
    names: impl IntoIterator<Item = String>,
) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let names = names.into_iter().filter(|name| name.starts_with(&*text));
    names.map(CompletionCandidate::new).collect()
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
    use super::*;
    use crate::cli::main::command;

    /// Values of positional arguments that are files, or that only the user knows.
    const OTHERS: [&str; 5] = ["TEMPLATE", "DIR", "FILE", "COMMAND", "GUEST"];

    #[test]
    fn arguments_that_name_images_channels_and_builds_complete_to_them() {
        let mut count = 0;
        for verb in command().get_subcommands() {
            let verb = with_candidates(verb.clone());
            let positionals = verb.get_arguments().filter(|found| found.is_positional());
            for argument in positionals {
                let is_other = |name: &str| name.split('|').all(|name| OTHERS.contains(&name));
                let names = argument.get_value_names().unwrap_or_default();
                if !argument.get_possible_values().is_empty()
                    || !names.is_empty() && names.iter().all(|name| is_other(name))
                {
                    continue;
                }
                let text = format!("{} {argument}", verb.get_name());
                assert!(argument.get::<ArgValueCompleter>().is_some(), "{text}");
                count += 1;
            }
        }
        assert!(count > 20, "{count}");
    }
}
