//! What the benches of disks share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use karat::fetch::Cache;

/// What this process, all threads, and those that it waited for kept processors busy with.
pub fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(4);
    // There are a hundred to a second on every machine that karat runs on.
    Duration::from_millis(
        10 * ticks
            .map(|field| field.parse::<u64>().unwrap())
            .sum::<u64>(),
    )
}

/// Returns a store in karat's cache and the id of its image of about 600 MB, which is built if it is not there.
pub fn diverse() -> (PathBuf, String) {
    let store = bench_cache().join("store");
    fs::create_dir_all(&store).unwrap();
    let listed = karat(&store, &["list"]);
    let mut ids = listed.lines().filter(|line| line.starts_with("diverse "));
    let id = ids
        .next_back()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned());
    let id = id.unwrap_or_else(|| {
        // The lock is written beside the template.
        let scratch = tempfile::tempdir().unwrap();
        let template = scratch.path().join("diverse.toml");
        fs::write(&template, include_str!("../scan/diverse.toml")).unwrap();
        let mut arguments = vec!["build", template.to_str().unwrap()];
        for check in ["vulnerabilities", "hygiene", "secrets", "undeclared"] {
            arguments.extend(["--without", check]);
        }
        karat(&store, &arguments).trim().to_owned()
    });
    (store, id)
}

/// Returns the image of [`diverse`] as a qcow2 file in karat's cache.
pub fn diverse_qcow2() -> PathBuf {
    let (store, id) = diverse();
    let image = bench_cache().join(format!("{id}.qcow2"));
    if !image.exists() {
        karat(
            &store,
            &["export", &id, "--output", image.to_str().unwrap()],
        );
    }
    image
}

fn bench_cache() -> PathBuf {
    Cache::of_user().unwrap().root().join("bench")
}

/// Runs karat on `store`, and returns its stdout.
fn karat(store: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_karat"));
    command.args(arguments).env("KARAT_STORE", store);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "karat {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}
