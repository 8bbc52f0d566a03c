//! Completions in a real bash: verbs, options, image names, ids and channels.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::Site;
use crate::trust::succeed;

/// Loads the completions, then asks for those of the last word, as bash does when Tab is pressed.
const COMPLETE: &str = r#"
source <(karat completions bash)
read -ra registered <<<"$(complete -p karat)"
for ((at = 0; at < ${#registered[@]}; at++)); do
    [ "${registered[at]}" = -F ] && function=${registered[at + 1]}
done
COMP_WORDS=(karat "$@") COMP_CWORD=$# COMP_TYPE=9
"$function" karat "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// Returns the completions of the last word. Nothing may be printed on stderr.
fn complete(site: &Site, words: &[&str]) -> Vec<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_karat")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command
        .args(["--norc", "-c", COMPLETE, "bash"])
        .args(words)
        .current_dir(site.path())
        .env_clear()
        .stdin(Stdio::null());
    for (name, value) in site.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("PATH", format!("{}:{path}", binary.display()));
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "", "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_shell_completes_verbs_images_and_channels() {
    let mut site = Site::new();
    let cache = site.path().join("cache");
    site.set("KARAT_CACHE", cache);
    site.write(
        "cache/logs/20261130T133635Z-shop-0a1b2c3d.log.zst",
        &log("of the shop\n"),
    );
    let id = site.put("web", b"image");
    site.put("database", b"other image");
    succeed(&site, &["keys", "generate"]);
    succeed(&site, &["sign", "web"]);
    let promote = [
        "promote",
        "web",
        "web/stable",
        "--force",
        "--reason",
        "a test",
    ];
    succeed(&site, &promote);
    std::fs::write(site.path().join("web.qcow2"), "").unwrap();
    let prefix = &id.to_string()[..4];
    for (words, expected) in [
        (&["vali"][..], &["validate"][..]),
        (&["keys", "gen"], &["generate"]),
        (&["list", "--for"], &["--format"]),
        (&["list", "--format", "jsonl"], &["jsonl"]),
        (&["show", ""], &["database", "web", "web/stable"]),
        (&["show", "we"], &["web", "web/stable"]),
        (&["show", prefix], &[&id.short()]),
        (&["remove", "web", "dat"], &["database"]),
        (&["promote", "web", "web/s"], &["web/stable"]),
        (&["verify", "web."], &["web.qcow2"]),
        (&["rollback", "web", "--channel", ""], &["web/stable"]),
        (&["show", "--store", "none", ""], &[]),
        (&["show", "nothing"], &[]),
        (&["run", "we"], &["web", "web.qcow2", "web/stable"]),
        (&["list", ""], &["database", "web"]),
        (&["logs", ""], &["0a1b2c3d", "shop"]),
    ] {
        let mut found = complete(&site, words);
        found.retain(|word| expected.contains(&word.as_str()) || !word.starts_with('-'));
        found.sort();
        assert_eq!(found, expected, "{words:?}");
    }
    assert!(
        !site.path().join("none").exists(),
        "completing makes no store"
    );
}

/// Returns a log that is compressed as a single block without compression.
fn log(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    // Magic number, descriptor with a size of one byte, the size, and the header of the last block.
    let head = [
        0x28,
        0xb5,
        0x2f,
        0xfd,
        0x20,
        length,
        (length << 3) | 1,
        0,
        0,
    ];
    [&head, text.as_bytes()].concat()
}

#[test]
fn a_log_is_named_by_digits_of_its_build() {
    let mut site = Site::new();
    let cache = site.path().join("cache");
    site.set("KARAT_CACHE", cache);
    for (build, text) in [("0a1b2c3d", "one"), ("0a1b9999", "two"), ("cafe0000", "3")] {
        let path = format!("cache/logs/20261130T133635Z-web-{build}.log.zst");
        site.write(&path, &log(text));
    }
    for (digits, expected) in [("0a1b2c3d", "one"), ("0a1b9", "two"), ("cafe", "3")] {
        let shown = site.karat(&["logs", digits]);
        assert!(
            shown.starts_with("exit code: 0") && shown.contains(expected),
            "{shown}"
        );
    }
    for (digits, expected) in [
        ("0a1b", "it may be 0a1b9999 or 0a1b2c3d"),
        ("caf", "no log of caf"),
        ("beef", "no log of beef"),
    ] {
        let shown = site.karat(&["logs", digits]);
        assert!(
            shown.starts_with("exit code: 2") && shown.contains(expected),
            "{shown}"
        );
    }
}

#[test]
fn every_shell_gets_its_script() {
    let site = Site::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = site.command(&["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && text.contains("KARAT_COMPLETE"),
            "{shell}: {text}"
        );
        if shell == "zsh" {
            // Autoloaded from fpath, the script is the function that has to answer the first Tab.
            let [start, end] = [
                "#compdef karat\n",
                "\n    compdef _clap_dynamic_completer_karat karat\nfi\n",
            ];
            assert!(text.starts_with(start) && text.ends_with(end), "{text}");
            let answer = "if [ \"$funcstack[1]\" = \"_karat\" ]; then\n    _clap_dynamic_completer_karat \"$@\"\nelse\n";
            assert!(text.contains(answer), "{text}");
            assert_eq!(text.matches("compdef _clap").count(), 1, "{text}");
        }
    }
    let mut unknown = site.command(&["--", "karat", "show", ""]);
    let output = unknown.env("KARAT_COMPLETE", "no-shell").output().unwrap();
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn a_damaged_or_large_store_does_not_hold_up_the_shell() {
    let site = Site::new();
    let id = site.put("web", b"image");
    let manifests = site.store.root().join("manifests");
    let text = std::fs::read(manifests.join(format!("{id}.json"))).unwrap();
    let large = [&text[..], &vec![b' '; 1 << 20]].concat();
    for number in 0..400 {
        std::fs::write(manifests.join(format!("{number:064x}.json")), &large).unwrap();
    }
    std::fs::write(
        manifests.join(format!("{}.json", "f".repeat(64))),
        "damaged",
    )
    .unwrap();
    let mut command = site.command(&["--", "karat", "show", ""]);
    command
        .env("KARAT_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "2");
    let began = std::time::Instant::now();
    let output = command.output().unwrap();
    let took = began.elapsed();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("web"), "{shown}");
    // Reading all of them takes seconds in a build without optimization.
    assert!(took < std::time::Duration::from_millis(800), "{took:?}");
}
