//! `karat schema`, read by taplo: the formatter and linter of TOML that editors use.

use std::path::{Path, PathBuf};
use std::process::Command;

use karat::fetch::Cache;

use crate::site::Site;

/// Returns the program that `.ci/setup` installs, or the one on the search path.
fn taplo() -> Option<PathBuf> {
    let own = Cache::of_user().ok()?.root().join("tools/taplo/bin/taplo");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).map(|directory| directory.join("taplo"));
    [own].into_iter().chain(others).find(|path| path.is_file())
}

/// Writes the schema to the site.
fn write_schema(site: &Site) {
    let output = site.run(["schema"]);
    assert!(output.status.success());
    site.write("karat.schema.json", &output.stdout);
}

#[test]
fn the_schema_names_every_table() {
    let site = Site::new();
    write_schema(&site);
    let text = std::fs::read(site.path("karat.schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let tables: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    insta::assert_debug_snapshot!("schema_tables", tables);
}

#[test]
fn taplo_accepts_templates_and_refuses_wrong_ones() {
    let Some(taplo) = taplo() else {
        eprintln!("SKIPPED: taplo is not installed; .ci/setup installs it");
        return;
    };
    let site = Site::new();
    // The starter names the schema, which is written with it.
    assert!(site.run(["init", "--name", "web"]).status.success());
    let check = |arguments: &[&str]| {
        let output = Command::new(&taplo)
            .arg("check")
            .args(arguments)
            .current_dir(site.root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    let schema = format!("file://{}", site.path("karat.schema.json").display());
    let (accepted, said) = check(&["web.toml"]);
    assert!(accepted, "{said}");
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let templates = format!("{}/*.toml", templates.display());
    let (accepted, said) = check(&["--schema", &schema, &templates]);
    assert!(accepted, "{said}");

    let starter = std::fs::read_to_string(site.path("web.toml")).unwrap();
    for (right, wrong) in [
        ("cpus = 2", "cpu = 2"),
        ("memory = \"1GiB\"", "memory = 1024"),
        ("[[test]]\n", "[test]\n"),
        ("install = [\"curl\"]", "install = \"curl\""),
        ("format = \"qcow2\"", "format = \"vhdx\""),
    ] {
        let text = starter.replace(right, wrong);
        assert_ne!(text, starter, "{right}");
        site.write("wrong.toml", &text);
        let (accepted, said) = check(&["wrong.toml"]);
        assert!(!accepted, "{wrong}: {said}");
    }
}
