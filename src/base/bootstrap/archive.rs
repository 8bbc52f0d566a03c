//! Which package archive a base is made from: the machine's own apt sources, or the one that the template names.

use std::fs;
use std::path::Path;

use crate::plan::Bootstrap;

/// The one-line sources for a release; empty when the machine has none.
pub(super) fn sources(bootstrap: &Bootstrap, etc_apt: &Path) -> Vec<String> {
    let components = if bootstrap.distribution == "ubuntu" { "main universe" } else { "main" };
    if let Some(mirror) = &bootstrap.mirror {
        let suites = [String::new(), "-updates".to_owned()];
        return suites.map(|suffix| format!("deb {mirror} {}{suffix} {components}", bootstrap.suite)).into();
    }
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc_apt.join("sources.list.d")) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let entries = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => deb822(&text),
            Some("list") => one_line(&text),
            _ => Vec::new(),
        };
        for (uri, suite) in entries {
            let line = format!("deb {uri} {suite} {components}");
            if wanted(&suite, &bootstrap.suite) && !found.contains(&line) {
                found.push(line);
            }
        }
    }
    // Without the release itself, its updates are no archive to start from.
    let release = format!(" {} ", bootstrap.suite);
    if found.iter().any(|line| line.contains(&release)) { found } else { Vec::new() }
}

/// The release, its updates and its security updates; not its backports.
fn wanted(suite: &str, release: &str) -> bool {
    match suite.strip_prefix(release) {
        Some("" | "-updates" | "-security" | "/updates") => true,
        Some(_) | None => false,
    }
}

/// URI and suite of every enabled source, in apt's newer form: <https://manpages.debian.org/sources.list>.
fn deb822(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in plain.join("\n").split("\n\n") {
        let field = |name: &str| -> Vec<String> {
            let mut words = Vec::new();
            let mut inside = false;
            for line in stanza.lines() {
                if line.starts_with([' ', '\t']) {
                    if inside {
                        words.extend(line.split_whitespace().map(str::to_owned));
                    }
                    continue;
                }
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                inside = key.eq_ignore_ascii_case(name);
                if inside {
                    words.extend(value.split_whitespace().map(str::to_owned));
                }
            }
            words
        };
        let disabled = field("Enabled").first().is_some_and(|value| value == "no" || value == "false");
        if disabled || !field("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in field("URIs") {
            found.extend(field("Suites").into_iter().map(|suite| (uri.clone(), suite)));
        }
    }
    found
}

/// URI and suite of every source, in apt's older form.
fn one_line(text: &str) -> Vec<(String, String)> {
    let source = |line: &str| {
        let mut rest = line.trim().strip_prefix("deb ")?.trim_start();
        if let Some(options) = rest.strip_prefix('[') {
            rest = options.split_once(']')?.1;
        }
        let mut words = rest.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arch;

    fn bootstrap(suite: &str, mirror: Option<&str>) -> Bootstrap {
        Bootstrap {
            distribution: "debian".to_owned(),
            suite: suite.to_owned(),
            mirror: mirror.map(str::to_owned),
            arch: Arch::X86_64,
        }
    }

    #[test]
    fn the_machines_own_sources_are_found_in_both_forms() {
        let apt = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = apt.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "sources.list.d/debian.sources",
            "Types: deb deb-src\n# a mirror\nURIs: http://example.org/debian\nSuites: bookworm bookworm-updates\n  bookworm-backports\n\
             Components: main\n\nTypes: deb\nEnabled: no\nURIs: http://example.org/off\nSuites: bookworm\n",
        );
        write("sources.list", "# none\ndeb [arch=amd64 signed-by=/k] http://example.org/sec bookworm-security main contrib\n");
        write("sources.list.d/x.disabled", "deb http://example.org/no bookworm main\n");
        let expected = [
            "deb http://example.org/sec bookworm-security main",
            "deb http://example.org/debian bookworm main",
            "deb http://example.org/debian bookworm-updates main",
        ];
        assert_eq!(sources(&bootstrap("bookworm", None), apt.path()), expected);
        assert!(sources(&bootstrap("trixie", None), apt.path()).is_empty());
        let named = sources(&bootstrap("trixie", Some("http://example.org/d")), apt.path());
        assert_eq!(named[0], "deb http://example.org/d trixie main");
    }
}
