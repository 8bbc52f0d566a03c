//! `karat run` and `karat ssh`: arguments, and what is missing. `tests/build` boots guests.

use crate::site::Site;

#[test]
fn wrong_arguments_of_run_are_explained() {
    let site = Site::new();
    let said = [
        &["run"][..],
        &["run", "web"],
        &["run", "web/stable"],
        &["run", "web", "-p", "80"],
        &["run", "web", "-p", "0:80"],
        &["run", "web", "--memory", "512"],
        &["run", "web", "--cpus", "0"],
        &["run", "web", "--ssh", "--console"],
        &["run", "web", "--console", "--", "true"],
        &["run", "web", "true"],
    ]
    .map(|arguments| {
        let title = arguments.join(" ");
        format!("##### {title}\n{}", site.transcript(arguments))
    });
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn without_a_guest_there_is_nothing_to_log_in_to() {
    let site = Site::new();
    insta::assert_snapshot!(site.karat(["ssh", "web", "--", "true"]));
    // A look changes nothing.
    assert!(!site.path("home").exists());
}
