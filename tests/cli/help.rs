//! The help of every verb.

use super::site::Site;

/// Names of the subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Appends the help of a verb and of all its subcommands.
fn append(site: &Site, verb: &[&str], text: &mut String) {
    let output = site.run_with(&[verb, &["--help"]].concat());
    assert!(output.status.success(), "{verb:?}");
    let help = String::from_utf8(output.stdout).expect("karat writes UTF-8");
    let title = [&["karat"], verb].concat().join(" ");
    text.extend(["##### ", &title, "\n", &help, "\n"]);
    for name in subcommands(&help) {
        append(site, &[verb, &[&name]].concat(), text);
    }
}

#[test]
fn every_verb_has_its_help() {
    let mut site = Site::new();
    site.set("COLUMNS", "100");
    let mut text = String::new();
    append(&site, &[], &mut text);
    assert!(text.matches("#####").count() > 33, "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn man_pages_have_a_verb_and_its_former_name_still_works() {
    let site = Site::new();
    assert!(site.run(["man", "new/man1"]).status.success());
    assert!(site.run(["completions", "--man", "old"]).status.success());
    let page = |name: &str| std::fs::read_to_string(site.path(name)).expect("a page");
    assert_eq!(page("new/man1/karat-build.1"), page("old/karat-build.1"));
    let printed = site.run(["man"]);
    assert_eq!(
        String::from_utf8(printed.stdout).expect("UTF-8"),
        page("new/man1/karat.1")
    );
}
