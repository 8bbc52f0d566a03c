//! The log of each build, and what the screen shows of a failure.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Site;
use super::support::site;

/// Lines that the failing step prints: more than an error shows.
const THIRTY_LINES: &str = "seq -f \"line %g.\" 1 30; exit 3";

/// Returns the path of the log and the build's id, as an error names them.
fn named_log(shown: &str) -> (String, String) {
    let named = shown.lines().find_map(|line| line.strip_prefix("  log: "));
    let (path, rest) = named.expect(shown).split_once(" (`karat logs ").unwrap();
    (path.to_owned(), rest.split('`').next().unwrap().to_owned())
}

#[test]
fn every_build_has_a_log_that_its_error_names() {
    let site = Site::new();
    site.template("bad", "echo first; exit 3");
    let (code, _, shown) = site.run(&["build", "bad.toml"]);
    assert_eq!(code, Some(1), "{shown}");
    let (path, build) = named_log(&shown);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    site.template("good", "echo fine");
    assert_eq!(site.run(&["build", "good.toml"]).0, Some(0));
    for arguments in [&["logs", build.as_str()][..], &["logs", "bad"]] {
        let (_, log, _) = site.run(arguments);
        for part in [
            " build, image bad, template bad.toml\n",
            " ==> step 1 of 1: work\n",
            "     | first\n",
            "     step 1 of 1: work: failed after ",
            " error: the step \"work\" failed\n",
            " failed after ",
        ] {
            assert!(log.contains(part), "{part:?} in {log}");
        }
    }
    let (_, newest, _) = site.run(&["logs"]);
    assert!(
        newest.contains("     | fine\n") && newest.contains(" done in "),
        "{newest}"
    );

    let (_, list, _) = site.run(&["logs", "--list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    let good = lines.iter().find(|line| line.contains("  good "));
    assert!(good.unwrap().contains("build    done in"), "{list}");
    let bad = lines.iter().find(|line| line.contains(&build));
    assert!(bad.unwrap().contains("failed (1) in"), "{list}");
    let (code, _, shown) = site.run(&["logs", "none"]);
    assert_eq!(code, Some(2), "{shown}");
}

#[test]
fn nothing_is_written_before_the_first_phase() {
    let site = Site::new();
    site.template("a", "true");
    let (code, _, shown) = site.run(&["build", "--locked", "a.toml"]);
    assert_eq!(code, Some(2), "{shown}");
    assert!(
        !shown.contains("log:") && !site.path("cache/logs").exists(),
        "{shown}"
    );
}

#[test]
fn a_killed_build_has_a_log_up_to_its_end() {
    let site = Site::new();
    site.template("a", "echo before; touch $D/up; sleep 600");
    let mut build = site.build("1", &["a"]);
    site.wait_for_file("up");
    site.wait_for("the line is in the log", || {
        site.run(&["logs"]).1.contains("     | before\n")
    });
    assert!(site.run(&["logs", "--list"]).1.contains("  running"));
    build.signal("KILL", false);
    build.wait();
    assert!(site.run(&["logs"]).1.contains("     | before\n"));
    let list = site.run(&["logs", "--list"]).1;
    assert!(list.contains("  stopped"), "{list}");
}

#[test]
fn a_log_that_cannot_be_written_is_one_warning() {
    let site = Site::new();
    site.template("a", "true");
    site.write("cache/logs", "a file");
    let (code, _, shown) = site.run(&["build", "a.toml"]);
    assert_eq!(code, Some(0), "{shown}");
    let warning = "cannot write the log";
    assert_eq!(shown.matches(warning).count(), 1, "{shown}");
}

#[test]
fn builds_in_parallel_have_a_log_each() {
    let site = Site::new();
    for name in ["a", "b", "c"] {
        site.template(name, &format!("echo only-{name}; sleep 0.3"));
    }
    let (code, _, shown) = site.run(&["build", "-j3", "a.toml", "b.toml", "c.toml"]);
    assert_eq!(code, Some(0), "{shown}");
    for name in ["a", "b", "c"] {
        let (_, log, _) = site.run(&["logs", name]);
        assert_eq!(log.matches("    | ").count(), 1, "{log}");
        assert!(log.contains(&format!("only-{name}\n")), "{log}");
    }
}

#[test]
fn secrets_are_neither_shown_nor_logged_also_where_a_long_line_is_cut() {
    let mut site = Site::new();
    site.site.set("TOKEN", "horse-battery-staple");
    site.template_of(
        "a",
        r#"[secrets.token]
env = "TOKEN"
[[provision]]
name = "work"
shell = { inline = [
  'echo "$KARAT_SECRET_TOKEN"; echo "user:$KARAT_SECRET_TOKEN" | base64',
  '''printf '%65530s%s\n' x "$KARAT_SECRET_TOKEN"''',
  "printf %s {{ token }}; exit 3",
] }
"#,
    );
    for arguments in [&["build", "a.toml"][..], &["build", "-q", "a.toml"]] {
        let (code, _, shown) = site.run(arguments);
        assert_eq!(code, Some(1), "{shown}");
        let log = site.run(&["logs"]).1;
        for text in [shown, log] {
            assert!(text.contains("<secret token>"), "{text}");
            for part in ["horse", "battery", "staple", "iYXR0ZXJ5"] {
                assert!(!text.contains(part), "{part} in {text}");
            }
        }
    }
}

#[test]
fn the_output_of_a_failed_step_is_shown_once() {
    let site = Site::new();
    site.template("a", THIRTY_LINES);
    let (_, _, plain) = site.run(&["build", "a.toml"]);
    for number in [1, 30] {
        let line = format!("line {number}.");
        assert_eq!(plain.matches(&line).count(), 1, "{plain}");
    }
    let (_, _, quiet) = site.run(&["build", "-q", "a.toml"]);
    assert_eq!(quiet.matches("line 30.").count(), 1, "{quiet}");
    assert!(
        quiet.contains("line 11.") && !quiet.contains("line 10."),
        "{quiet}"
    );

    let retried = fs::read_to_string(site.path("a.toml")).unwrap() + "retries = 2\n";
    site.write("a.toml", &retried);
    let (_, _, plain) = site.run(&["build", "a.toml"]);
    for number in [1, 2] {
        let tried = format!("warning: work: try {number} of 3 failed: the script failed with");
        assert_eq!(plain.matches(&tried).count(), 1, "{plain}");
    }
    assert_eq!(plain.matches("line 30.").count(), 3, "once a try: {plain}");
}

/// Runs karat on a terminal of its own; returns what it writes there, without escape sequences.
fn on_terminal(site: &Site, arguments: &str) -> String {
    let karat = site.karat(&[]);
    let line = format!("{} {arguments}", karat.get_program().to_str().unwrap());
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .current_dir(site.root())
        .stdin(Stdio::null());
    for (name, value) in karat.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let [shown, _] = site::texts(command.env("TERM", "xterm").output().unwrap());
    let escape = regex::Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").unwrap();
    escape.replace_all(&shown, "").replace('\r', "\n")
}

#[test]
fn a_terminal_shows_a_clock_and_the_end_of_the_output_once() {
    let site = Site::new();
    site.template("a", &format!("sleep 2.5; {THIRTY_LINES}"));
    let shown = on_terminal(&site, "build a.toml");
    assert!(shown.contains("step 1 of 1: work  2 s"), "{shown}");
    let tail: Vec<String> = (11..=30).map(|number| format!("line {number}.")).collect();
    // Lines are padded to the width of the terminal.
    let padding = regex::Regex::new(r"\s*\n\s*|\s{2,}").unwrap();
    let lines: Vec<&str> = padding.split(&shown).collect();
    let blocks = lines.windows(20).filter(|window| *window == &tail[..]);
    assert_eq!(blocks.count(), 1, "{shown}");
    assert!(shown.contains("failed after "), "{shown}");
}

/// Returns the number of the first line that contains a text.
fn line_of(text: &str, part: &str) -> usize {
    let found = text.lines().position(|line| line.contains(part));
    found.unwrap() + 1
}

#[test]
fn the_failed_line_is_pointed_at() {
    let site = Site::new();
    let tables = r#"[[provision]]
name = "fine"
shell = { inline = ["true"] }

[[provision]]
name = "simple"
shell = { inline = [
  "echo a",
  "test -e /no/such",
  "echo b",
] }
"#;
    let line = line_of(&site.template_of("a", tables), "/no/such");
    let (_, _, shown) = site.run(&["build", "a.toml"]);
    for part in [
        &format!("\n  --> a.toml:{line}:3\n"),
        "exit code 1 at line 2: test -e /no/such\n",
        "==> step 2 of 2: simple\n",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
}

#[test]
fn a_shell_tells_the_line_of_an_unknown_command_and_nothing_that_of_another() {
    let site = Site::new();
    for (last, place, is_told) in [
        ("no-such-command", "no-such-command", true),
        ("false", "[[provision]]", false),
    ] {
        let table = format!(
            "[[provision]]\nname = \"block\"\nshell = {{ inline = ['''\nif true; then\n  :\nfi\n{last}'''] }}\n"
        );
        let line = line_of(&site.template_of("a", &table), place);
        let (_, _, shown) = site.run(&["build", "a.toml"]);
        let arrow = format!("\n  --> a.toml:{line}:1\n");
        assert!(shown.contains(&arrow), "{shown}");
        assert_eq!(shown.contains(" at line 4: "), is_told, "{shown}");
    }
}

#[test]
fn a_failed_upload_or_download_is_pointed_at() {
    let site = Site::new();
    for (table, rest) in [
        (
            "[[provision]]",
            "download = { sources = [\"/no/such\"], destination = \"out/\" }",
        ),
        (
            "[[provision]]",
            "file = { content = \"a\", destination = \"/proc/no/such\" }",
        ),
        (
            "[[files]] # fails",
            "content = \"a\"\ndestination = \"/tmp\"",
        ),
        (
            "[[files]] # fails",
            "content = \"a\"\ndestination = \"/tmp/a\"\nowner = \"no-such\"",
        ),
        (
            "[[files]] # fails",
            "content = \"a\"\ndestination = \"/proc/no/such\"",
        ),
    ] {
        let fine = site.path("fine");
        let before = format!(
            "[[files]]\ncontent = \"a\"\ndestination = {:?}\n",
            fine.display()
        );
        let text = site.template_of("a", &format!("{before}{table}\n{rest}\n"));
        let line = line_of(&text, table);
        let (code, _, shown) = site.run(&["build", "a.toml"]);
        assert_eq!(code, Some(1), "{shown}");
        let arrow = format!("\n  --> a.toml:{line}:1\n");
        assert!(shown.contains(&arrow), "{shown}");
        let is_stored = fs::remove_file(&fine).is_ok();
        assert_eq!(is_stored, table == "[[provision]]", "{shown}");
    }
}

#[test]
fn steps_of_on_error_have_a_heading() {
    let site = Site::new();
    site.template("a", "exit 3");
    let text = fs::read_to_string(site.path("a.toml")).unwrap();
    let more = "[[on_error]]\nname = \"collect\"\nshell = { inline = [\"echo collected\"] }\n";
    site.write("a.toml", &(text + more));
    let (_, _, shown) = site.run(&["build", "a.toml"]);
    let heading = "==> on_error 1 of 1: collect\n    | collected\n";
    assert!(shown.contains(heading), "{shown}");
}

#[test]
fn the_time_of_a_failed_build_is_shown_at_the_end() {
    let site = Site::new();
    site.template("a", "sleep 1; exit 3");
    let begun = Instant::now();
    let (_, _, shown) = site.run(&["build", "a.toml"]);
    assert!(begun.elapsed() > Duration::from_secs(1));
    let last = shown.lines().last().unwrap();
    assert!(last.starts_with("failed after "), "{shown}");
}
