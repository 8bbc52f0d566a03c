//! The help of every verb.

use std::collections::BTreeSet;

use super::site::Site;
use crate::support::help::{Verb, help, verbs};
use crate::support::site::texts;

fn wide() -> Site {
    let mut site = Site::new();
    site.set("COLUMNS", "100");
    site
}

#[test]
fn every_verb_has_its_help() {
    let mut text = String::new();
    for Verb { words, help } in verbs(&wide()) {
        let title = [&["karat".to_owned()], &words[..]].concat().join(" ");
        text.extend(["##### ", &title, "\n", &help, "\n"]);
    }
    assert!(text.matches("#####").count() > 33, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_short_help_has_no_global_options() {
    let site = wide();
    insta::assert_snapshot!("short_help", help(&site, &[], "-h"));
    insta::assert_snapshot!(
        "short_help_of_build",
        help(&site, &["build".to_owned()], "-h")
    );
    for Verb { words, .. } in verbs(&site) {
        let short = help(&site, &words, "-h");
        for global in [
            "--verbose",
            "--log-format",
            "--audit-syslog",
            "Global options",
        ] {
            assert!(!short.contains(global), "{words:?}: {short}");
        }
    }
}

#[test]
fn help_and_usage_are_the_same_whatever_the_environment() {
    let (plain, mut set) = (wide(), wide());
    let verbs = verbs(&plain);
    let variables = verbs
        .iter()
        .flat_map(|verb| verb.help.split("[env: ").skip(1));
    let names: BTreeSet<&str> = variables
        .filter_map(|text| text.split(']').next())
        .collect();
    assert!(
        names.contains("KARAT_STORE") && names.len() > 5,
        "{names:?}"
    );
    for name in names {
        set.set(name, "localhost:1");
    }
    for verb in &verbs {
        assert_eq!(help(&set, &verb.words, "--help"), verb.help);
        let usage = verb.help.lines().find(|line| line.starts_with("Usage: "));
        let usage = usage.expect("help has a usage line");
        let is_required = |word: &str| word.starts_with('<') && !word.ends_with(']');
        if !usage.split(' ').any(is_required) {
            continue;
        }
        // Something is missing, so the error shows the usage.
        let [plain, set] = [&plain, &set].map(|site| site.run_with(&verb.words()));
        assert_eq!(plain.status.code(), Some(2), "{:?}", verb.words);
        let [plain, set] = [plain, set].map(|output| texts(output).concat());
        assert_eq!(plain, set, "{:?}", verb.words);
    }
}

#[test]
fn a_man_page_is_printed_and_all_of_them_are_written_on_request_only() {
    let site = Site::new();
    std::fs::create_dir(site.path("old")).unwrap();
    std::fs::create_dir(site.path("build")).unwrap();
    for words in [
        &["man", "--output", "new"][..],
        &["man", "former/man1"],
        &["man", "old"],
        &["completions", "--man", "older"],
    ] {
        assert!(site.run_with(words).status.success(), "{words:?}");
    }
    let page = |name: &str| std::fs::read_to_string(site.path(name)).expect("a page");
    for directory in ["former/man1", "old", "older"] {
        let name = |directory: &str| format!("{directory}/karat-keys-generate.1");
        assert_eq!(page(&name(directory)), page(&name("new")));
    }
    for (words, file) in [
        (&["man"][..], "new/karat.1"),
        (&["man", "build"], "new/karat-build.1"),
        (&["man", "keys", "generate"], "new/karat-keys-generate.1"),
    ] {
        let [printed, _] = texts(site.run_with(words));
        assert_eq!(printed, page(file), "{words:?}");
    }
    let entries = std::fs::read_dir(site.path("build")).unwrap();
    assert_eq!(entries.count(), 0, "a command is not taken for a directory");
    for (words, hint) in [
        (&["man", "biuld"][..], "did you mean `build`?"),
        (&["man", "keys", "trsut"], "did you mean `trust`?"),
        (&["man", "pages"], "`--output DIR` writes all pages"),
    ] {
        let refused = site.transcript(words);
        assert!(
            refused.starts_with("exit 2") && refused.contains(hint),
            "{refused}"
        );
    }
    assert!(!site.path("pages").exists());
}
