//! `--log-format json`: every line of real runs is as `docs/reference/json-events.md` says.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::Site;

/// Fields of each event: type, and true if it is always there.
type Schema = BTreeMap<String, BTreeMap<String, (String, bool)>>;

/// Reads the tables of the page. Common fields are added to each event.
fn schema() -> Schema {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/json-events.md");
    let page = fs::read_to_string(page).unwrap();
    let (mut schema, mut event) = (Schema::new(), String::new());
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("### `") {
            name.trim_end_matches('`').clone_into(&mut event);
            let common = schema[""].clone();
            schema.insert(event.clone(), common);
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split(" | ").collect();
            let field = cells[0].trim_end_matches('`').to_owned();
            assert!(["always", "optional"].contains(&cells[2]), "{line}");
            let value = (cells[1].to_owned(), cells[2] == "always");
            let fields = schema.entry(event.clone()).or_default();
            fields.insert(field, value);
        }
    }
    schema
}

/// Runs karat with a JSON log. Returns exit code, stdout and events, each of which is checked.
fn events(site: &Site, arguments: &[&str]) -> (Option<i32>, String, Vec<Value>) {
    let schema = schema();
    let all = [arguments, &["--log-format", "json"]].concat();
    let (code, stdout, stderr) = site.run(&all);
    let events: Vec<Value> = stderr.lines().map(|line| check(&schema, line)).collect();
    let last = events.last().expect("there is an event");
    assert_eq!(last["event"], "exit", "{arguments:?}: {stderr}");
    let last_code = last["code"].as_i64();
    assert_eq!(last_code, code.map(i64::from), "{arguments:?}: {stderr}");
    (code, stdout, events)
}

fn check(schema: &Schema, line: &str) -> Value {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let kind = event["event"].as_str().expect(line);
    let fields = schema.get(kind).expect("the event is documented");
    for (name, value) in event.as_object().unwrap() {
        let Some((kind, _)) = fields.get(name) else {
            panic!("`{name}` is not documented: {line}")
        };
        let fits = match kind.as_str() {
            "string" => value.is_string(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            other => panic!("unknown type {other}"),
        };
        assert!(fits, "`{name}` should be {kind}: {line}");
    }
    for (name, _) in fields.iter().filter(|(_, (_, always))| *always) {
        assert!(event.get(name).is_some(), "`{name}` is missing: {line}");
    }
    event
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let is_of = |event: &&Value| event["event"] == kind;
    events.iter().filter(is_of).collect()
}

/// Every phase that started has ended once.
fn assert_pairs(events: &[Value]) {
    for started in of(events, "started") {
        let kinds = ["done", "failed", "cancelled"].iter();
        let ends = kinds.flat_map(|kind| of(events, kind));
        let ends = ends.filter(|end| end["id"] == started["id"]).count();
        assert_eq!(ends, 1, "{started}");
    }
}

#[test]
fn the_stream_of_a_build_is_as_documented() {
    let site = Site::new();
    let file = site.path("uploaded");
    let tables = format!(
        "[[files]]\ncontent = \"a\"\ndestination = \"{}\"\n\
         [[provision]]\nname = \"one\"\nshell = {{ inline = [\"echo hello\"] }}\n\
         [[provision]]\nname = \"two\"\npause = {{ duration = \"10ms\" }}\n",
        file.display()
    );
    site.template_of("a", &tables);
    let (code, stdout, first) = events(&site, &["build", "a.toml", "-v"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_pairs(&first);
    let started = of(&first, "started");
    let two = started.iter().find(|event| event["text"] == "two").unwrap();
    assert_eq!(
        (&two["part"], &two["number"], &two["of"]),
        (&"step".into(), &2.into(), &2.into())
    );
    assert!(two.get("usual").is_none());
    let output = of(&first, "output");
    assert!(output.iter().any(|event| event["text"] == "hello"));
    assert!(!of(&first, "progress").is_empty());
    let result = of(&first, "result")[0];
    assert_eq!(result["code"], 0);
    assert_eq!(result["build"], of(&first, "build")[0]["build"]);
    assert!(result["log"].as_str().unwrap().contains("/logs/"));

    let (_, _, second) = events(&site, &["build", "a.toml"]);
    let started = of(&second, "started");
    let is_known = |event: &&Value| event["usual"].is_number();
    assert!(started.iter().all(is_known), "{started:?}");
    assert_ne!(of(&second, "build")[0]["build"], result["build"]);
}

#[test]
fn a_failed_build_tells_help_and_place_apart() {
    let site = Site::new();
    site.template("bad", "echo why; exit 3");
    let text = fs::read_to_string(site.path("bad.toml")).unwrap();
    site.write("bad.toml", &(text + "retries = 1\n"));
    let (code, _, failed) = events(&site, &["build", "bad.toml"]);
    assert_eq!(code, Some(1));
    assert_pairs(&failed);
    assert_eq!(of(&failed, "retry").len(), 1);
    let error = of(&failed, "error")[0];
    assert_eq!(error["file"], "bad.toml");
    assert!(error["line"].as_u64() > Some(8), "{error}");
    assert!(error.get("output").is_none(), "{error}");
    assert!(!error["text"].as_str().unwrap().contains("help"), "{error}");
    let help = error["help"].as_str().unwrap();
    assert!(help.contains("exit_codes"), "{error}");
    assert_eq!(of(&failed, "result")[0]["code"], 1);

    let (_, _, quiet) = events(&site, &["build", "bad.toml", "-q"]);
    assert_eq!(of(&quiet, "error")[0]["output"][0], "why");
    assert!(of(&quiet, "started").is_empty());
}

#[test]
fn errors_of_every_verb_are_events() {
    let site = Site::new();
    site.write("broken.toml", "[image]\nnme = 1\nnmae = 2\n");
    let (code, _, broken) = events(&site, &["build", "broken.toml"]);
    assert_eq!(code, Some(2));
    let errors = of(&broken, "error");
    let lines: Vec<_> = errors.iter().map(|error| error["line"].clone()).collect();
    assert!(lines.contains(&3.into()) && lines.len() > 1, "{broken:?}");
    for arguments in [
        &["show", "none"][..],
        &["build", "--no-such-option"],
        &["nosuchverb"],
        &["validate", "missing.toml"],
        &["logs", "none"],
    ] {
        let (code, _, refused) = events(&site, arguments);
        assert_ne!(code, Some(0), "{arguments:?}");
        let errors = of(&refused, "error").len();
        assert_eq!(errors, 1, "{arguments:?}: {refused:?}");
    }
    assert_eq!(events(&site, &["list"]).0, Some(0));
}

#[test]
fn builds_in_parallel_can_be_told_apart() {
    let site = Site::new();
    site.template("a", "echo from-a; sleep 0.2");
    site.template("b", "echo from-b; sleep 0.2; exit 3");
    let (code, _, all) = events(&site, &["build", "-j2", "a.toml", "b.toml"]);
    assert_eq!(code, Some(1));
    assert_pairs(&all);
    for (name, code) in [("a", 0), ("b", 1)] {
        let builds = of(&all, "build");
        let build = builds.iter().find(|event| event["image"] == name).unwrap();
        let is_own = |event: &&Value| event["build"] == build["build"];
        let own: Vec<Value> = all.iter().filter(is_own).cloned().collect();
        assert_eq!(of(&own, "output")[0]["text"], format!("from-{name}"));
        assert_eq!(of(&own, "result")[0]["code"], code);
    }
}

#[test]
fn a_cancelled_build_ends_its_phases() {
    let site = Site::new();
    site.template("a", "touch $D/up; sleep 600");
    let command = site.karat(&["build", "a.toml", "--log-format", "json"]);
    let mut build = super::Build(site.spawn(command));
    site.wait_for_file("up");
    build.signal("INT", false);
    assert_eq!(build.wait().code(), Some(130));
    let (schema, log) = (schema(), site.log());
    let events: Vec<Value> = log.lines().map(|line| check(&schema, line)).collect();
    assert_pairs(&events);
    assert_eq!(of(&events, "cancelled").len(), 1);
    assert_eq!(of(&events, "result")[0]["code"], 130);
}
