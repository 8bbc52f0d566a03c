//! Manifests as others see them: their ids, computed without karat, and those that this karat cannot read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use karat::digest::Digest;
use karat::ui::Ui;

use crate::cli::Site;

/// Runs the script that has nothing of karat.
fn id_py(manifests: &[PathBuf]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schema/id.py");
    let mut python = Command::new("python3");
    let output = python.arg(script).args(manifests).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), said)
}

fn manifests(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.store.root().join("manifests")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn ten_lines_of_python_find_the_ids_of_recorded_manifests() {
    let site = Site::new();
    site.put("web", b"one");
    let text = "tab\t quote\" back\\ bell\u{7} del\u{7f} nul\0 é 漢字 😀\r\n\u{2028}";
    let mut strange = super::manifest("web", b"one");
    strange.inputs.image.description = text.to_owned();
    strange
        .inputs
        .variables
        .insert("text".to_owned(), text.to_owned());
    strange.inputs.files[0].destination = format!("/{text}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let image = site.path().join("image");
    fs::write(&image, b"one").unwrap();
    let id = runtime.block_on(async {
        let writing = site.store.begin().await.unwrap();
        writing.add_image(&image, &Ui::default()).await.unwrap();
        writing.commit(&strange, super::run(b"one")).unwrap()
    });
    let all = manifests(&site);
    let (same, said) = id_py(&all);
    assert!(same && all.len() == 2, "{said}");
    assert!(said.contains(&format!("{id} ok")), "{said}");

    let renamed = site.path().join(format!("{}.json", "0".repeat(64)));
    fs::copy(&all[0], &renamed).unwrap();
    let (same, said) = id_py(&[renamed]);
    assert!(!same && said.contains("is called 0000"), "{said}");
}

#[test]
fn a_manifest_of_a_later_karat_is_told_to_be_one() {
    let site = Site::new();
    let text = br#"{"extra":1,"schema":"karat.manifest/2"}"#;
    let id = Digest::of(text).hex();
    let path = site.store.root().join(format!("manifests/{id}.json"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let said = [["show", &id], ["export", &id], ["diff", &id]].map(|arguments| {
        let more: &[&str] = match arguments[0] {
            "export" => &["-o", "web.qcow2"],
            "diff" => &[&id],
            _ => &[],
        };
        site.karat(&[&arguments, more].concat())
    });
    assert!(said.iter().all(|it| *it == said[0]), "{said:#?}");
    insta::assert_snapshot!("later_schema", said[0]);
}
