//! Every example and default of the template reference, in a template: karat and the schema accept it, and refuse it with
//! a wrong value or an unknown key.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::in_repository;
use super::template::toml as to_toml;
use crate::plan::{self, Inputs, Plan};
use crate::record::manifest::schema::valid;
use crate::ssh::keys::KeyPair;
use crate::template::schema::{definitions, json_schema};

/// A key of a template, at one of the places where it may stand.
struct Key {
    /// Tables from the template to the key's; `[]` is the first item of a list.
    path: Vec<String>,
    /// Name of the type of the table.
    table: String,
    name: String,
    schema: Value,
}

/// Returns all keys that are no tables.
fn keys() -> Vec<Key> {
    let schema = definitions();
    let mut keys = Vec::new();
    collect(&schema["$defs"], &schema, "Template", &[], &mut keys);
    keys
}

fn collect(types: &Value, table: &Value, name: &str, path: &[String], keys: &mut Vec<Key>) {
    for (key, value) in table["properties"].as_object().into_iter().flatten() {
        let inside = |more: &[&str]| {
            let more = std::iter::once(key.as_str()).chain(more.iter().copied());
            path.iter()
                .cloned()
                .chain(more.map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let kinds = [
            (&value["$ref"], inside(&[])),
            (&value["items"]["$ref"], inside(&["[]"])),
            (&value["additionalProperties"]["$ref"], inside(&["x"])),
        ];
        for (reference, path) in kinds {
            if let Some(kind) = reference.as_str().and_then(|text| text.rsplit('/').next()) {
                collect(types, &types[kind], kind, &path, keys);
            }
        }
        if value.get("$ref").is_none() && !value["examples"].is_null() {
            keys.push(Key {
                path: path.to_vec(),
                table: name.to_owned(),
                name: key.clone(),
                schema: value.clone(),
            });
        }
    }
}

/// A digest for examples that need one.
const DIGEST: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";

/// Returns what the table of a key needs beside it, and what the template needs.
fn companions(key: &Key) -> (Value, Value) {
    let ami = json!({"id": "ami-0123456789abcdef0"});
    let on_ec2 = json!({"builder": {"ec2": {}}, "base": {"ami": ami}});
    let on_instance = json!({"builder": {"ec2": {}}});
    let greeting = json!({"variables": {"greeting": {"default": "hi"}}});
    let repository =
        json!({"suites": ["stable"], "components": ["main"], "key": "files/tools.asc"});
    let none = || json!({});
    match (key.table.as_str(), key.name.as_str()) {
        ("Variable", "description") => (json!({"default": "x"}), none()),
        ("Bootstrap", "distribution") => (json!({"suite": "noble"}), none()),
        ("BaseUrl" | "File", "url") => (json!({"sha256": DIGEST}), none()),
        ("BaseAmi", "id") => (none(), on_instance),
        ("BaseAmi", "owners") => (json!({"name": "debian-*"}), on_instance),
        ("BaseAmi", _) => (json!({"owners": ["self"]}), on_instance),
        ("Ec2", _) => (none(), json!({"base": {"ami": ami}})),
        ("Ssh", "min_port") => (json!({"max_port": 22099}), none()),
        ("Ssh", "max_port") => (json!({"min_port": 22000}), none()),
        ("Ssh", "interface") => (none(), on_ec2),
        ("Repository", _) => (repository, none()),
        ("DnfRepository", _) => (json!({"key": "files/tools.asc"}), none()),
        ("File", "content") => (none(), greeting),
        ("File", "sha256") => (json!({"url": "https://example.org/tool"}), none()),
        ("File", name) if name != "source" => (json!({"content": "x"}), none()),
        ("Step", _) => (json!({"reboot": {}}), none()),
        ("Creates", _) => {
            let steps = json!([{"reboot": {}}]);
            (none(), json!({"provision": steps, "on_error": steps}))
        }
        ("Shell", name) if !["script", "inline"].contains(&name) => {
            (json!({"inline": ["true"]}), none())
        }
        ("Download", "destination") => (json!({"source": "/etc/app"}), none()),
        ("Ignore", "reason" | "until") => (json!({"id": "CVE-2024-0001"}), none()),
        ("PublishEc2", "kms_key") => (json!({"encrypted": true}), none()),
        _ => (none(), none()),
    }
}

/// Returns the smallest template that has the table of a key, with more keys in it.
fn template(key: &Key, more: &[(&str, &Value)]) -> Value {
    let (beside, mut template) = companions(key);
    if key.path.iter().any(|name| name == "dnf") {
        let url = "https://example.org/rocky-9.qcow2";
        template["base"] = json!({"url": {"url": url, "sha256": DIGEST}});
    }
    if key.table != "Image" {
        template["image"] = json!({"name": "web"});
    }
    let mut table = &mut template;
    for name in &key.path {
        table = match name.as_str() {
            "[]" => {
                if table.is_null() {
                    *table = json!([{}]);
                }
                &mut table[0]
            }
            name => &mut table[name],
        };
    }
    if table.is_null() {
        *table = json!({});
    }
    let kind = &definitions()["$defs"][&key.table];
    for name in kind["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        table[name] = kind["properties"][name]["examples"][0].clone();
    }
    let beside = beside.as_object().into_iter().flatten();
    let beside = beside.map(|(name, value)| (name.as_str(), value));
    for (name, value) in beside.chain(more.iter().copied()) {
        table[name] = value.clone();
    }
    template
}

/// A directory with the files that the examples name.
fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = site.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for name in [
        "base.qcow2",
        "files/nginx.conf",
        "files/tools.asc",
        "token",
        "known_hosts",
    ] {
        write(name, "");
    }
    write("setup.sh", "true\n");
    write("web.vex.json", "{}");
    let key = KeyPair::generate("test").unwrap();
    for name in [".ssh/build", ".ssh/jump"] {
        write(name, key.private_openssh());
    }
    site
}

/// Loads a template in a site.
fn load(site: &Path, template: &Value) -> Result<Plan, String> {
    let entries = template.as_object().unwrap().iter();
    let lines = entries.map(|(key, value)| format!("{key} = {}\n", to_toml(value)));
    let text = lines.collect::<Vec<_>>().concat();
    let path = site.join("web.toml");
    std::fs::write(&path, &text).unwrap();
    let inputs = Inputs {
        home: Some(site.to_owned()),
        ..Inputs::default()
    };
    plan::load(&path, &inputs).map_err(|error| format!("{text}\n{}", error.render(false)))
}

#[test]
fn karat_and_the_schema_accept_each_example_and_refuse_the_same() {
    let site = site();
    let (mut templates, mut expected) = (Vec::new(), Vec::new());
    let wrong = [json!([[0]]), json!({"no_such_key": {}}), json!(0.5)];
    for key in keys() {
        let example = &key.schema["examples"][0];
        let good = template(&key, &[(&key.name, example)]);
        load(site.path(), &good).unwrap_or_else(|error| panic!("{error}"));
        templates.push(good);
        expected.push(true);
        let unknown = ("no_such_key", &json!("x"));
        let bad = wrong
            .iter()
            .map(|value| template(&key, &[(&key.name, value)]));
        for bad in bad.chain([template(&key, &[(&key.name, example), unknown])]) {
            assert!(load(site.path(), &bad).is_err(), "{bad}");
            templates.push(bad);
            expected.push(false);
        }
    }
    assert!(expected.len() > 600, "{}", expected.len());
    let verdicts = valid(&json_schema().to_value(), &templates);
    for ((template, expected), verdict) in templates.iter().zip(expected).zip(verdicts) {
        assert_eq!(verdict, expected, "by the schema: {template}");
    }
}

#[test]
fn documented_defaults_are_those_of_the_plan() {
    let site = site();
    let plan = |template: &Value| {
        let plan = load(site.path(), template).unwrap_or_else(|error| panic!("{error}"));
        let mut plan = serde_json::to_value(plan).unwrap();
        plan["template"].take();
        plan
    };
    let mut count = 0;
    for key in keys() {
        let Some(default) = key.schema.get("default") else {
            continue;
        };
        count += 1;
        let written = plan(&template(&key, &[(&key.name, default)]));
        assert_eq!(
            written,
            plan(&template(&key, &[])),
            "{}.{}",
            key.table,
            key.name
        );
    }
    assert!(count > 30, "{count} defaults");
}

#[test]
fn the_schema_accepts_variables_wherever_karat_does() {
    let site = site();
    let mut templates = Vec::new();
    for key in keys() {
        let example = &key.schema["examples"][0];
        let text = match example {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => example.to_string(),
            _ => continue,
        };
        // Variables and secrets are declared before anything refers to them.
        if ["Variable", "Secret"].contains(&key.table.as_str()) {
            continue;
        }
        let mut template = template(&key, &[(&key.name, &json!("{{ value }}"))]);
        template["variables"] = json!({"value": {"default": text}, "greeting": {"default": "hi"}});
        load(site.path(), &template).unwrap_or_else(|error| panic!("{error}"));
        templates.push(template);
    }
    let verdicts = valid(&json_schema().to_value(), &templates);
    for (template, verdict) in templates.iter().zip(verdicts) {
        assert!(verdict, "{template}");
    }
}

#[test]
fn the_schema_accepts_all_templates_of_the_repository() {
    let mut texts = vec![include_str!("../starter.toml").replace("@NAME@", "web")];
    for directory in ["templates", "tests/templates"] {
        for file in std::fs::read_dir(in_repository(directory)).unwrap() {
            let path = file.unwrap().path();
            let name = path.to_string_lossy();
            if name.ends_with(".toml") && !name.ends_with(".lock.toml") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let page = std::fs::read_to_string(in_repository("docs/reference/template.md")).unwrap();
    let blocks = page.split("```toml\n").skip(1);
    let whole = blocks
        .filter_map(|block| block.split("```").next())
        .filter(|block| block.contains("[image]"));
    texts.extend(whole.map(str::to_owned));
    assert!(texts.len() > 7, "{}", texts.len());
    let templates = texts.iter().map(|text| {
        let table: toml::Table = toml::from_str(text).unwrap();
        serde_json::to_value(table).unwrap()
    });
    let templates: Vec<Value> = templates.collect();
    let verdicts = valid(&json_schema().to_value(), &templates);
    for (text, verdict) in texts.iter().zip(verdicts) {
        assert!(verdict, "{text}");
    }
}
