//! The host's apt sources, and the archive that a base is made from. Pure but for [`read_host`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::os::{if_exists, os_release};

/// One suite of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    /// Keyring file; `None` if the source names none, or contains its key.
    pub signed_by: Option<PathBuf>,
}

/// Distribution, release and apt sources of the host.
#[derive(Clone, Default, Debug)]
pub(super) struct HostSources {
    /// Value of `ID` in `/etc/os-release`.
    pub distribution: String,
    /// Value of `VERSION_CODENAME` in `/etc/os-release`.
    pub suite: String,
    pub sources: Vec<Source>,
}

/// Reads `etc/os-release` and `etc/apt` below `root`.
pub(super) fn read_host(root: &Path) -> io::Result<HostSources> {
    let release = os_release::read(root);
    let mut files = vec![root.join("etc/apt/sources.list")];
    let more = if_exists(fs::read_dir(root.join("etc/apt/sources.list.d")))?;
    for entry in more.into_iter().flatten() {
        files.push(entry?.path());
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let parse: fn(&str) -> Vec<Source> = match file.extension().and_then(|e| e.to_str()) {
            Some("list") => parse_list,
            Some("sources") => parse_deb822,
            _ => continue,
        };
        let text = if_exists(fs::read_to_string(&file))?;
        sources.extend(parse(&text.unwrap_or_default()));
    }
    Ok(HostSources {
        distribution: os_release::value(&release, "ID").to_owned(),
        suite: os_release::value(&release, "VERSION_CODENAME").to_owned(),
        sources,
    })
}

/// Parses the one-line format: `deb [options] uri suite component...`.
pub(super) fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    rest = rest.trim_start();
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        rest = after;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .and_then(keyring);
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect(),
        signed_by,
    })
}

/// Parses the deb822 format: stanzas of `Field: value`, continued by indented lines.
pub(super) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: BTreeMap<String, String> = BTreeMap::new();
    let mut field = String::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza_sources(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            let value = stanza.entry(field.clone()).or_default();
            value.push('\n');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            field = name.trim().to_ascii_lowercase();
            stanza.insert(field.clone(), value.trim().to_owned());
        }
    }
    sources
}

fn stanza_sources(stanza: &BTreeMap<String, String>) -> Vec<Source> {
    let words = |field: &str| {
        stanza
            .get(field)
            .into_iter()
            .flat_map(|value| value.split_whitespace())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let off = stanza.get("enabled").is_some_and(|value| {
        ["no", "false", "0", "off"].contains(&value.to_ascii_lowercase().as_str())
    });
    if off || !words("types").contains(&"deb".to_owned()) {
        return Vec::new();
    }
    let signed_by = stanza.get("signed-by").and_then(|value| keyring(value));
    let mut sources = Vec::new();
    for uri in words("uris") {
        for suite in words("suites") {
            sources.push(Source {
                uri: uri.clone(),
                suite,
                components: words("components"),
                signed_by: signed_by.clone(),
            });
        }
    }
    sources
}

/// Returns the first file of a `Signed-By`. A fingerprint or a key itself is not a file.
fn keyring(value: &str) -> Option<PathBuf> {
    let first = value.split([',', ' ', '\n']).next()?;
    first.starts_with('/').then(|| PathBuf::from(first))
}

/// Selects the sources for a base of `suite`: those of the host for that release and its updates. If the host runs another release
/// of the same distribution, its code name is replaced.
pub(super) fn select(host: &HostSources, distribution: &str, suite: &str) -> Vec<Source> {
    let chosen = matching(host, suite, suite);
    if !chosen.is_empty() || host.distribution != distribution || host.suite.is_empty() {
        return chosen;
    }
    matching(host, &host.suite, suite)
}

fn matching(host: &HostSources, from: &str, to: &str) -> Vec<Source> {
    let mut chosen: Vec<Source> = Vec::new();
    let rolling = ["sid", "unstable", "testing"].contains(&to);
    for source in &host.sources {
        let Some(pocket) = source.suite.strip_prefix(from) else {
            continue;
        };
        let wanted = pocket.is_empty() || (!rolling && ["-updates", "-security"].contains(&pocket));
        if !wanted || !source.components.iter().any(|name| name == "main") {
            continue;
        }
        let mut source = source.clone();
        source.suite = format!("{to}{pocket}");
        if !chosen
            .iter()
            .any(|other| other.uri == source.uri && other.suite == source.suite)
        {
            chosen.push(source);
        }
    }
    // Updates without the release itself are not enough.
    if !chosen.iter().any(|source| source.suite == to) {
        chosen.clear();
    }
    chosen
}

/// Returns the sources of a template's `mirror`: whole `deb` lines, or the URL of an archive.
pub(super) fn from_mirror(mirror: &str, distribution: &str, suite: &str) -> Vec<Source> {
    if mirror.trim_start().starts_with("deb ") || mirror.trim_start().starts_with("deb\t") {
        return parse_list(mirror);
    }
    let (pockets, components): (&[&str], &[&str]) = match (distribution, suite) {
        ("ubuntu", _) => (&["", "-updates", "-security"], &["main", "universe"]),
        (_, "sid" | "unstable" | "testing") => (&[""], &["main"]),
        // Debian's security updates are in another archive, whose URL does not follow from the mirror's.
        _ => (&["", "-updates"], &["main"]),
    };
    pockets
        .iter()
        .map(|pocket| Source {
            uri: mirror.trim().to_owned(),
            suite: format!("{suite}{pocket}"),
            components: components.iter().map(|&name| name.to_owned()).collect(),
            signed_by: None,
        })
        .collect()
}

impl Source {
    /// Returns the URL of a file of the suite. A suite that ends with a slash is a path.
    pub(super) fn release_file(&self, file: &str) -> String {
        let uri = self.uri.trim_end_matches('/');
        if self.suite.ends_with('/') {
            return format!("{uri}/{}{file}", self.suite.trim_start_matches('/'));
        }
        format!("{uri}/dists/{}/{file}", self.suite)
    }

    /// Returns the line of `sources.list`, signed by `keyring`.
    pub(super) fn line(&self, keyring: &Path) -> String {
        let Self { uri, suite, .. } = self;
        let components = self.components.join(" ");
        format!(
            "deb [signed-by={}] {uri} {suite} {components}",
            keyring.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sources: &[Source]) -> Vec<String> {
        let show = |source: &Source| {
            let key = source.signed_by.as_deref().unwrap_or(Path::new("-"));
            source.line(key)
        };
        sources.iter().map(show).collect()
    }

    #[test]
    fn one_line_sources_are_read() {
        for (line, expected) in [
            (
                "deb http://a.example.org/debian bookworm main contrib",
                Some("deb [signed-by=-] http://a.example.org/debian bookworm main contrib"),
            ),
            (
                "deb [arch=amd64 signed-by=/k.gpg] http://a.example.org/ s main # note",
                Some("deb [signed-by=/k.gpg] http://a.example.org/ s main"),
            ),
            (
                "deb [signed-by=ABCDEF] http://a.example.org/ s main",
                Some("deb [signed-by=-] http://a.example.org/ s main"),
            ),
            ("deb-src http://a.example.org/debian bookworm main", None),
            ("# deb http://a.example.org/debian bookworm main", None),
            ("deb http://a.example.org/debian", None),
            ("debian http://a.example.org/debian x", None),
            ("", None),
        ] {
            let expected: Vec<String> = expected.map(str::to_owned).into_iter().collect();
            assert_eq!(shown(&parse_list(line)), expected, "reading {line:?}");
        }
    }

    #[test]
    fn deb822_sources_are_read() {
        let text = "Types: deb deb-src\n# a comment inside\nURIs: http://a.example.org/debian\nSuites: bookworm\n bookworm-updates\n\
                    Components: main\nSigned-By: /k.gpg\n\n\nTypes: deb\nURIs: http://b.example.org\nSuites: x\nComponents: main\nEnabled: no\n\n\
                    Types: deb-src\nURIs: http://c.example.org\nSuites: x\nComponents: main\n\n\
                    types: deb\nuris: http://d.example.org http://e.example.org\nsuites: x\ncomponents: main\nSigned-By:\n -----BEGIN PGP\n .\n";
        assert_eq!(
            shown(&parse_deb822(text)),
            [
                "deb [signed-by=/k.gpg] http://a.example.org/debian bookworm main",
                "deb [signed-by=/k.gpg] http://a.example.org/debian bookworm-updates main",
                "deb [signed-by=-] http://d.example.org x main",
                "deb [signed-by=-] http://e.example.org x main",
            ]
        );
    }

    #[test]
    fn the_hosts_sources_are_chosen_by_release() {
        let sources = parse_list(
            "deb http://a.example.org/debian bookworm main\ndeb http://a.example.org/debian bookworm main\n\
             deb http://a.example.org/debian bookworm-updates main\ndeb http://s.example.org bookworm-security main\n\
             deb http://a.example.org/debian bookworm-backports main\ndeb http://o.example.org nodistro main\n\
             deb http://n.example.org bookworm non-free",
        );
        let host = HostSources {
            distribution: "debian".into(),
            suite: "bookworm".into(),
            sources,
        };
        let suites = |distribution, suite| -> Vec<String> {
            select(&host, distribution, suite)
                .into_iter()
                .map(|source| source.suite)
                .collect()
        };
        for (distribution, suite, expected) in [
            (
                "debian",
                "bookworm",
                &["bookworm", "bookworm-updates", "bookworm-security"][..],
            ),
            (
                "debian",
                "trixie",
                &["trixie", "trixie-updates", "trixie-security"],
            ),
            ("debian", "sid", &["sid"]),
            ("ubuntu", "noble", &[]),
        ] {
            assert_eq!(
                suites(distribution, suite),
                expected,
                "{distribution} {suite}"
            );
        }
    }

    #[test]
    fn a_mirror_is_a_url_or_whole_lines() {
        for (mirror, distribution, suite, expected) in [
            (
                "http://m.example.org/debian",
                "debian",
                "bookworm",
                &["bookworm main", "bookworm-updates main"][..],
            ),
            (
                "http://m.example.org/debian",
                "debian",
                "sid",
                &["sid main"],
            ),
            (
                "http://m.example.org/ubuntu",
                "ubuntu",
                "noble",
                &[
                    "noble main universe",
                    "noble-updates main universe",
                    "noble-security main universe",
                ],
            ),
            (
                "deb http://m.example.org/x one main\ndeb http://m.example.org/y two main",
                "debian",
                "one",
                &["one main", "two main"],
            ),
        ] {
            let found: Vec<String> = from_mirror(mirror, distribution, suite)
                .into_iter()
                .map(|source| format!("{} {}", source.suite, source.components.join(" ")))
                .collect();
            assert_eq!(found, expected, "{mirror}");
        }
    }
}
