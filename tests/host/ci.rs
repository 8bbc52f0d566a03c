//! Marks for CI services.

use super::Site;
use super::support::site;

/// Output that a runner must not take for its commands.
const HOSTILE: &str = r#"echo "::set-env name=PATH::/tmp"; echo "  ::add-path::/tmp"; echo "see ##[add-mask]x"
printf "a\r::stop-commands::x\n"; printf "\033[0Ksection_start:1:x\r\033[0K\n"; exit 3"#;

#[test]
fn github_folds_phases_and_gets_commands_of_karat_only() {
    let site = Site::new();
    site.template("a", HOSTILE);
    let mut build = site.karat(&["build", "a.toml"]);
    let [_, shown] = site::texts(build.env("GITHUB_ACTIONS", "true").output().unwrap());
    let mut logs = site.karat(&["logs"]);
    let [log, _] = site::texts(logs.env("GITHUB_ACTIONS", "true").output().unwrap());
    let mut json = site.karat(&["build", "a.toml", "--log-format", "json"]);
    let [_, json] = site::texts(json.env("GITHUB_ACTIONS", "true").output().unwrap());
    for text in [&shown, &log, &json] {
        assert!(text.contains("add-mask") && !text.contains("##["), "{text}");
        for line in text.split(['\n', '\r']).map(str::trim) {
            let own = ["::group::", "::endgroup::", "::error "];
            assert!(
                !line.starts_with("::") || own.iter().any(|own| line.starts_with(own)),
                "{line:?} in {text}"
            );
        }
    }
    assert!(shown.contains("\n::group::step 1 of 1: work\n"), "{shown}");
    let count = |mark: &str| shown.matches(mark).count();
    assert_eq!(count("::group::"), count("::endgroup::"), "{shown}");
    assert!(shown.contains("\n::error file=a.toml,line="), "{shown}");
    assert!(!log.contains("\n::"), "{log}");
}

#[test]
fn errors_of_templates_are_annotated() {
    let site = Site::new();
    site.write("a.toml", "[image]\nname = \"a\"\nnme = \"b\"\n");
    let mut validate = site.karat(&["validate", "a.toml"]);
    let [_, shown] = site::texts(validate.env("GITHUB_ACTIONS", "true").output().unwrap());
    let annotation = "\n::error file=a.toml,line=3,col=1::";
    assert!(shown.contains(annotation), "{shown}");
}

#[test]
fn gitlab_folds_phases_and_gets_sections_of_karat_only() {
    let site = Site::new();
    site.template("a", HOSTILE);
    let mut build = site.karat(&["build", "a.toml"]);
    let [_, shown] = site::texts(build.env("GITLAB_CI", "true").output().unwrap());
    let count = |mark: &str| shown.matches(mark).count();
    let opened = count("\u{1b}[0Ksection_start:");
    assert!(opened > 1, "{shown}");
    assert_eq!(opened, count("\u{1b}[0Ksection_end:"), "{shown}");
    assert_eq!(count("section_start:1:x\r"), 0, "{shown}");
}

#[test]
fn colors_can_be_asked_for_and_forbidden() {
    let site = Site::new();
    site.template("a", "exit 3");
    for (variables, colored) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("FORCE_COLOR", "1")], true),
        (&[("FORCE_COLOR", "0")], false),
        (&[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false),
    ] {
        let mut build = site.karat(&["build", "a.toml"]);
        for name in ["CLICOLOR_FORCE", "FORCE_COLOR", "NO_COLOR"] {
            build.env_remove(name);
        }
        build.envs(variables.iter().copied());
        let [_, shown] = site::texts(build.output().unwrap());
        let error = "\u{1b}[31merror:";
        assert_eq!(shown.contains(error), colored, "{variables:?}: {shown}");
    }
}
