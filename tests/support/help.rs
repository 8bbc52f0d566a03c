//! Reads the help of the real binary.

use super::site::{Site, texts};

/// A verb, such as `keys list`, and its long help.
pub struct Verb {
    pub words: Vec<String>,
    pub help: String,
}

impl Verb {
    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// Returns all visible verbs with those below them, karat itself first.
pub fn verbs(site: &Site) -> Vec<Verb> {
    let mut found = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(words) = open.pop() {
        let verb = Verb {
            help: help(site, &words, "--help"),
            words,
        };
        let below = subcommands(&verb.help).into_iter().rev();
        open.extend(below.map(|name| [&verb.words[..], &[name]].concat()));
        found.push(verb);
    }
    found
}

/// Returns the output of `karat VERB -h` or `--help`.
pub fn help(site: &Site, verb: &[String], option: &str) -> String {
    let words: Vec<&str> = verb.iter().map(String::as_str).chain([option]).collect();
    let output = site.command(&words).output().expect("the binary runs");
    assert!(output.status.success(), "{words:?}");
    let [stdout, _] = texts(output);
    stdout
}

/// Returns the verbs that a help text lists: in lines such as `  init       Create a template`.
fn subcommands(help: &str) -> Vec<String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_lowercase())
    };
    let listed = help.lines().filter_map(|line| {
        let (name, about) = line.strip_prefix("  ")?.split_once("  ")?;
        (is_name(name) && name != "help" && !about.is_empty()).then(|| name.to_owned())
    });
    listed.collect()
}
