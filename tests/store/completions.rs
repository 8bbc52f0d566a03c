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
    let site = Site::new();
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
