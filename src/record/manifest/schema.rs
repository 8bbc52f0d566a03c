//! JSON Schema of manifests: generated from the types, checked in, and compared with what karat refuses.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::tests::example;
use super::*;

/// Path of the schema in the repository.
const FILE: &str = "tests/schema/manifest.json";
/// Environment variable that makes the test write the schema.
const WRITE: &str = "KARAT_WRITE_SCHEMA";
/// Maximum of canonical JSON, see [`canonical`].
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// An independent validator. It reads a schema and values, and writes for each value whether it is valid.
const VALIDATE: &str = "import json, sys
from jsonschema.validators import validator_for
schema, values = json.load(sys.stdin)
kind = validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)
json.dump([validator.is_valid(value) for value in values], sys.stdout)";

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "SHA-256 of some bytes.",
            "type": "string",
            "pattern": "^sha256:[0-9a-f]{64}$",
        })
    }
}

/// Adds the rules of canonical manifests: no null, no empty optional values, and no number beyond 2^53.
fn tighten(schema: &mut Schema) {
    let Some(table) = schema.as_object_mut() else {
        return;
    };
    table.remove("default");
    let most = match table.remove("format").as_ref().and_then(Value::as_str) {
        Some("uint64") => Some(MAX_INTEGER),
        Some("uint32") => Some(u32::MAX.into()),
        Some("uint16") => Some(u16::MAX.into()),
        _ => None,
    };
    if let Some(most) = most {
        table.insert("maximum".to_owned(), most.into());
    }
    let required = table.get("required").cloned().unwrap_or_default();
    let is_required = |key: &String| {
        let keys = required.as_array();
        keys.is_some_and(|keys| keys.iter().any(|required| required == key))
    };
    if let Some(Value::Object(properties)) = table.get_mut("properties") {
        for (_, property) in properties.iter_mut().filter(|(key, _)| !is_required(key)) {
            // An optional list or map is left out if it is empty.
            match property["type"].as_str() {
                Some("array") => property["minItems"] = 1.into(),
                Some("object") => property["minProperties"] = 1.into(),
                _ => {}
            }
        }
    }
    if let Some(Value::Array(types)) = table.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            table.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = table.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({"type": "null"}));
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            table.remove("anyOf");
            table.extend(only);
        }
    }
}

fn generated() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Manifest>();
    RecursiveTransform(tighten).transform(&mut schema);
    schema.insert("title".to_owned(), SCHEMA.into());
    schema.to_value()
}

/// Returns a manifest with every key.
fn full(text: &str) -> Manifest {
    let digest = Digest::of(text.as_bytes());
    let mut made = example("web", text, b"image");
    let repository = Repository {
        name: "tools".to_owned(),
        uri: "https://example.org/".to_owned(),
        suites: vec!["stable".to_owned()],
        components: vec!["main".to_owned()],
        key: Some(digest),
        trusted: false,
        keep: true,
    };
    let inputs = &mut made.inputs;
    inputs.base.url = Some("https://example.org/base".to_owned());
    inputs.base.region = Some("eu-central-1".to_owned());
    inputs.base.ami = Some("ami-0123456789abcdef0".to_owned());
    inputs.base.snapshot = Some("snap-0123456789abcdef0".to_owned());
    inputs.packages.dnf = Some(DeclaredPackages {
        install: vec!["nginx".to_owned()],
        remove: Vec::new(),
        recommends: true,
        repositories: vec![repository.clone()],
        accept: vec![AcceptedPath {
            path: "/usr/lib/tool/run".to_owned(),
            package: "nginx".to_owned(),
            reason: "made by its script".to_owned(),
        }],
    });
    if let Some(apt) = &mut inputs.packages.apt {
        apt.repositories.push(repository.clone());
    }
    for step in &mut inputs.steps {
        if let Action::Shell {
            working_directory, ..
        } = &mut step.action
        {
            *working_directory = Some("/srv".to_owned());
        }
    }
    inputs.steps[0].creates.push(Creates {
        path: "/opt/app/**".to_owned(),
        setuid: true,
        capabilities: true,
        device: true,
    });
    inputs.network.allow.push(Allow {
        url: "https://example.org/x".to_owned(),
        sha256: Some(digest),
    });
    inputs.network.requests.push(Request {
        url: "https://example.org/x".to_owned(),
        status: Some(404),
        sha256: Some(digest),
        size: Some(MAX_INTEGER),
    });
    made.outputs.explanation = Some(digest);
    made
}

#[test]
fn the_schema_that_is_checked_in_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let text = serde_json::to_string_pretty(&generated()).unwrap() + "\n";
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "the schema differs from {FILE}: if that is intended, run this test once with {WRITE}=1"
    );
}

#[test]
fn the_schema_and_karat_refuse_the_same() {
    let schema = generated();
    let full = serde_json::to_value(full("text")).unwrap();
    let (mut known, mut used) = (BTreeSet::new(), BTreeSet::new());
    properties(&schema, &mut known);
    keys(&full, &mut used);
    let missing: Vec<_> = known.difference(&used).collect();
    assert!(missing.is_empty(), "no manifest here has {missing:?}");

    let mut values = vec![full.clone()];
    mutations(&full, &mut |value| values.push(value));
    let verdicts = valid(&schema, &values);
    assert_eq!(verdicts.len(), values.len());
    let (mut refused, mut differ) = (0, Vec::new());
    for (value, by_schema) in values.iter().zip(verdicts) {
        let bytes = crate::record::canonical::value_to_bytes(value).ok();
        let by_karat = bytes.is_some_and(|bytes| Manifest::from_bytes(&bytes).is_ok());
        if by_schema != by_karat {
            differ.push(format!("{value} by karat {by_karat}"));
        }
        refused += usize::from(!by_karat);
    }
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(refused > 500, "{refused} of {}", values.len());
    assert!(values.len() - refused > 20, "{refused} of {}", values.len());
}

/// Returns the verdicts of the independent validator.
pub(crate) fn valid(schema: &Value, values: &[Value]) -> Vec<bool> {
    let python = Command::new("python3")
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut python = python.expect("python3 is there (.ci/setup)");
    let input = serde_json::to_vec(&(schema, values)).unwrap();
    let mut stdin = python.stdin.take().unwrap();
    // The validator writes only after it has read everything, so neither side blocks the other.
    stdin.write_all(&input).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "python3-jsonschema is there (.ci/setup)"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Collects every key that a schema allows.
fn properties(schema: &Value, known: &mut BTreeSet<String>) {
    match schema {
        Value::Object(table) => {
            if let Some(Value::Object(properties)) = table.get("properties") {
                known.extend(properties.keys().cloned());
            }
            table.values().for_each(|value| properties(value, known));
        }
        Value::Array(items) => items.iter().for_each(|value| properties(value, known)),
        _ => {}
    }
}

/// Collects every key of a value.
fn keys(value: &Value, used: &mut BTreeSet<String>) {
    match value {
        Value::Object(table) => {
            used.extend(table.keys().cloned());
            table.values().for_each(|value| keys(value, used));
        }
        Value::Array(items) => items.iter().for_each(|value| keys(value, used)),
        _ => {}
    }
}

/// Produces variants of a value with one part changed.
fn mutations(value: &Value, take: &mut dyn FnMut(Value)) {
    let others = [
        json!(null),
        json!(0.5),
        json!(1_u64 << 53),
        json!(-1),
        json!("0"),
        json!(true),
        json!([]),
        json!([0]),
        json!({}),
        json!({"unknown": 0}),
    ];
    for other in others.into_iter().filter(|other| other != value) {
        take(other);
    }
    match value {
        Value::Object(table) => {
            let with = |key: &str, value: Option<Value>| {
                let mut table = table.clone();
                match value {
                    Some(value) => drop(table.insert(key.to_owned(), value)),
                    None => drop(table.remove(key)),
                }
                Value::Object(table)
            };
            // The key is unknown, unless the table is a map.
            take(with("host", Some(json!("me"))));
            for (key, value) in table {
                take(with(key, None));
                mutations(value, &mut |changed| take(with(key, Some(changed))));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                mutations(item, &mut |changed| {
                    let mut items = items.clone();
                    items[index] = changed;
                    take(Value::Array(items));
                });
            }
        }
        _ => {}
    }
}
