use std::process::{Command, Stdio};

use super::*;
use crate::scan::inventory::{Language, Manager, Release};
use crate::scan::testing::package;

fn inventory() -> Inventory {
    let package = |name: &str, version: &str| package(Manager::Dpkg, name, version);
    let language = |path: &str| Language {
        path: path.to_owned(),
        kind: "pypi".to_owned(),
        name: "requests".to_owned(),
        version: "2.0".to_owned(),
        license: "Apache-2.0".to_owned(),
    };
    Inventory {
        release: Some(Release {
            id: "debian".to_owned(),
            version: "12".to_owned(),
            ..Release::default()
        }),
        packages: vec![package("nginx", "1.22.1-9"), package("libc6", "2:2.36+b1")],
        language: vec![language("/opt/a"), language("/opt/b")],
        ..Inventory::default()
    }
}

fn licenses() -> Licenses {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    [
        ("nginx".to_owned(), names(&["Expat", "BSD-2-clause"])),
        (
            "libc6".to_owned(),
            names(&["LGPL-2.1+", "some odd: name", "some odd; name"]),
        ),
    ]
    .into()
}

fn subject(digest: Option<Digest>) -> Subject {
    Subject {
        name: "web".to_owned(),
        digest,
        created: "2026-01-31T12:00:00Z".parse().unwrap(),
    }
}

type Writer = fn(&Subject, &Inventory, &Licenses) -> Value;

const WRITERS: [(&str, Writer); 2] = [("cyclonedx", cyclonedx), ("spdx", spdx_2_3)];

#[test]
fn the_same_image_gives_the_same_document_and_another_one_another() {
    for (name, writer) in WRITERS {
        let of = |text: Option<&str>| {
            let digest = text.map(|text| Digest::of(text.as_bytes()));
            writer(&subject(digest), &inventory(), &licenses()).to_string()
        };
        assert_eq!(of(Some("one")), of(Some("one")), "{name}");
        assert_ne!(of(Some("one")), of(Some("two")), "{name}");
        assert_eq!(of(None), of(None), "{name}");
    }
}

#[test]
fn a_cyclonedx_document_keeps_the_rules_of_its_schema() {
    let bom = cyclonedx(
        &subject(Some(Digest::of(b"image"))),
        &inventory(),
        &licenses(),
    );
    assert_eq!(
        (&bom["bomFormat"], &bom["specVersion"]),
        (&json!("CycloneDX"), &json!("1.6"))
    );
    let serial = bom["serialNumber"].as_str().unwrap();
    assert_uuid(serial.strip_prefix("urn:uuid:").unwrap());
    let components = bom["components"].as_array().unwrap();
    assert_eq!(components.len(), 4);
    let mut refs = BTreeSet::from(["image"]);
    for component in components {
        assert!(component["type"].is_string() && component["name"].is_string());
        assert!(component["purl"].as_str().unwrap().starts_with("pkg:"));
        assert!(
            refs.insert(component["bom-ref"].as_str().unwrap()),
            "{component}"
        );
        for license in component["licenses"].as_array().into_iter().flatten() {
            let license = license["license"].as_object().unwrap();
            assert_eq!(license.len(), 1, "an id or a name");
        }
    }
    for dependency in bom["dependencies"][0]["dependsOn"].as_array().unwrap() {
        assert!(refs.contains(dependency.as_str().unwrap()));
    }
}

#[test]
fn an_spdx_document_keeps_the_rules_of_its_schema() {
    let document = spdx_2_3(&subject(None), &inventory(), &licenses());
    for key in [
        "spdxVersion",
        "dataLicense",
        "SPDXID",
        "name",
        "documentNamespace",
    ] {
        assert!(document[key].is_string(), "{key}");
    }
    assert_eq!(document["creationInfo"]["created"], "2026-01-31T12:00:00Z");
    let namespace = document["documentNamespace"].as_str().unwrap();
    assert_uuid(namespace.strip_prefix("urn:uuid:").unwrap());
    let packages = document["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 5);
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    let own = document["hasExtractedLicensingInfos"].as_array().unwrap();
    let own: BTreeSet<_> = own
        .iter()
        .map(|license| license["licenseId"].as_str().unwrap())
        .collect();
    assert_eq!(own.len(), 2, "names that look alike stay apart");
    for package in packages {
        let id = package["SPDXID"].as_str().unwrap();
        assert!(ids.insert(id) && id.starts_with("SPDXRef-"), "{id}");
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        assert!(id["SPDXRef-".len()..].bytes().all(valid), "{id}");
        assert!(package["downloadLocation"].is_string());
        let declared = package["licenseDeclared"].as_str().unwrap();
        for license in declared.split(" AND ") {
            let known = spdx(license).is_some() || license == "NOASSERTION";
            assert!(known || own.contains(license), "{license}");
        }
    }
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(
                ids.contains(relationship[end].as_str().unwrap()),
                "{relationship}"
            );
        }
    }
}

/// Validates against the real schemas, if `cyclonedx-python-lib[json-validation]` and `spdx-tools` of `PyPI` are
/// installed. Without them the test says so; the tests above check the rules all the same.
#[test]
fn documents_are_valid_for_the_tools_of_others_where_those_are_installed() {
    let scratch = tempfile::tempdir().unwrap();
    let scripts = [
        "import sys; from cyclonedx.validation.json import JsonStrictValidator as V; from cyclonedx.schema import SchemaVersion as S; \
         e = V(S.V1_6).validate_str(open(sys.argv[1]).read()); sys.exit(str(e) if e else 0)",
        "import sys; from spdx_tools.spdx.parser.parse_anything import parse_file as p; \
         from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document as v; \
         e = v(p(sys.argv[1])); sys.exit(str(e) if e else 0)",
    ];
    let modules = [
        "cyclonedx.validation.json, jsonschema, referencing",
        "spdx_tools.spdx",
    ];
    for (((name, writer), script), module) in WRITERS.into_iter().zip(scripts).zip(modules) {
        let python = |arguments: &[&str]| {
            let mut command =
                Command::new(std::env::var_os("KARAT_TEST_PYTHON").unwrap_or("python3".into()));
            command.args(arguments).stdin(Stdio::null()).output()
        };
        let there = python(&["-c", &format!("import {module}")]);
        if !there.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: {name} is not validated by its own tools: python3 lacks {module}");
            continue;
        }
        let path = scratch.path().join(format!("bom.{name}.json"));
        let document = writer(
            &subject(Some(Digest::of(b"image"))),
            &inventory(),
            &licenses(),
        );
        std::fs::write(&path, document.to_string()).unwrap();
        let output = python(&["-c", script, &path.display().to_string()]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
}

fn assert_uuid(text: &str) {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{text}");
    assert!(
        text.bytes()
            .all(|byte| byte == b'-' || b"0123456789abcdef".contains(&byte)),
        "{text}"
    );
}
