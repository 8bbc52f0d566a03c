//! Parses a machine's apt sources and writes the resolver's private copy. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::distro::debian::control::paragraphs;
use crate::provision::packages::{PackageError, Repository, Upstream, to_http};

/// Supported fields besides types, URIs, suites and components.
const FIELDS: &[&str] = &[
    "Architectures",
    "Architectures-Add",
    "Architectures-Remove",
    "Signed-By",
    "Check-Valid-Until",
    "Valid-Until-Min",
    "Valid-Until-Max",
    "Check-Date",
    "Date-Max-Future",
    "InRelease-Path",
    "By-Hash",
    "Include",
    "Exclude",
];

/// Options of the one-line format and the corresponding fields.
const OPTIONS: &[(&str, &str)] = &[
    ("arch", "Architectures"),
    ("arch+", "Architectures-Add"),
    ("arch-", "Architectures-Remove"),
    ("signed-by", "Signed-By"),
    ("trusted", "Trusted"),
    ("allow-insecure", "Allow-Insecure"),
    ("allow-weak", "Allow-Weak"),
    ("check-valid-until", "Check-Valid-Until"),
    ("valid-until-min", "Valid-Until-Min"),
    ("valid-until-max", "Valid-Until-Max"),
    ("check-date", "Check-Date"),
    ("date-max-future", "Date-Max-Future"),
    ("inrelease-path", "InRelease-Path"),
    ("by-hash", "By-Hash"),
];

/// Fields that make apt trust an archive without a signature.
const UNSIGNED_FIELDS: &[&str] = &["Trusted", "Allow-Insecure", "Allow-Weak"];

/// A source of binary packages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Source {
    /// File of the source, or the template's repository.
    place: String,
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    /// Other fields with the lines of their values.
    fields: BTreeMap<String, Vec<String>>,
    /// Field that turns off signature checks.
    unsigned_by: Option<String>,
}

/// Parsed output of `survey.sh`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Survey {
    pub architecture: String,
    pub sources: Vec<Source>,
}

/// Parses the output of `survey.sh`. Fails on sources that the host cannot fetch from; ignores CD-ROMs.
pub(super) fn read(survey: &str) -> Result<Survey, PackageError> {
    let mut files: Vec<(&str, String)> = Vec::new();
    let mut found = Survey::default();
    for line in survey.lines() {
        if let Some(architecture) = line.strip_prefix("architecture ") {
            architecture.clone_into(&mut found.architecture);
        } else if let Some(name) = line.strip_prefix("file ") {
            files.push((name, String::new()));
        } else if let Some((_, text)) = files.last_mut() {
            *text += line.strip_prefix(' ').unwrap_or(line);
            text.push('\n');
        }
    }
    let mut sources = Vec::new();
    let of_apt = files
        .iter()
        .filter(|(name, _)| !name.starts_with("/etc/apt/mirrors/"));
    for (name, text) in of_apt {
        match name.rsplit_once('.') {
            Some((_, "list")) => {
                sources.extend(text.lines().filter_map(|line| one_line(line, name)));
            }
            Some((_, "sources")) => sources.extend(deb822(text, name)),
            _ => {}
        }
    }
    for mut source in sources {
        let mut uris = Vec::new();
        for uri in &source.uris {
            uris.extend(reachable(uri, &files, &source.place)?);
        }
        source.uris = uris;
        if !source.uris.is_empty() {
            found.sources.push(source);
        }
    }
    Ok(found)
}

/// Returns the URI to fetch for a declared one: for a mirror list its first entry, `None` for a CD-ROM.
fn reachable(
    uri: &str,
    files: &[(&str, String)],
    place: &str,
) -> Result<Option<String>, PackageError> {
    let refused = || PackageError::Unreachable {
        uri: uri.to_owned(),
        place: place.to_owned(),
    };
    match uri.split_once(':') {
        Some(("http" | "https", _)) => Ok(Some(uri.to_owned())),
        Some(("cdrom", _)) => Ok(None),
        Some(("mirror+file", path)) => {
            let path = format!("/{}", path.trim_start_matches('/'));
            let list = files.iter().find(|(name, _)| *name == path);
            let text = list.ok_or_else(refused)?.1.as_str();
            let mut uris = text.lines().filter_map(|line| {
                let uri = line.split_whitespace().next()?;
                uri.starts_with("http").then(|| uri.to_owned())
            });
            uris.next().map(Some).ok_or_else(refused)
        }
        _ => Err(refused()),
    }
}

/// `deb [options] uri suite component...`
fn one_line(line: &str, place: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let mut source = Source {
        place: place.to_owned(),
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        ..Source::default()
    };
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=')?;
        if let Some((_, field)) = OPTIONS.iter().find(|(known, _)| *known == name) {
            source.set(field, vec![value.replace(',', " ")]);
        }
    }
    Some(source)
}

fn deb822(text: &str, place: &str) -> Vec<Source> {
    // Comments may appear inside a paragraph.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let text = lines.join("\n");
    let sources = paragraphs(&text).filter_map(|paragraph| {
        let words = |name: &str| -> Vec<String> {
            let value = paragraph.folded(name).unwrap_or_default();
            value.split_whitespace().map(str::to_owned).collect()
        };
        let enabled = paragraph.field("Enabled").is_none_or(is_yes);
        if !enabled || !words("Types").iter().any(|kind| kind == "deb") {
            return None;
        }
        let mut source = Source {
            place: place.to_owned(),
            uris: words("URIs"),
            suites: words("Suites"),
            components: words("Components"),
            ..Source::default()
        };
        for field in FIELDS.iter().chain(UNSIGNED_FIELDS) {
            let value: Vec<String> = paragraph.lines_of(field).map(str::to_owned).collect();
            if !value.is_empty() {
                source.set(field, value);
            }
        }
        Some(source)
    });
    sources.collect()
}

fn is_yes(value: &str) -> bool {
    !["no", "false", "0", "off", "without", "disable"]
        .contains(&value.to_ascii_lowercase().as_str())
}

impl Source {
    fn set(&mut self, field: &str, value: Vec<String>) {
        if UNSIGNED_FIELDS.contains(&field) {
            if is_yes(&value.join(" ")) {
                self.unsigned_by = Some(field.to_owned());
            }
        } else {
            self.fields.insert(field.to_owned(), value);
        }
    }

    /// Converts a repository of the template. `directory` holds the resolver's files.
    pub(super) fn of(repository: &Repository, directory: &str) -> Self {
        let mut source = Self {
            place: format!("repository `{}` of the template", repository.name),
            uris: vec![repository.uri.clone()],
            suites: repository.suites.clone(),
            components: repository.components.clone(),
            unsigned_by: repository.trusted.then(|| "Trusted".to_owned()),
            ..Self::default()
        };
        if let Some(file) = repository.key_file() {
            source.set("Signed-By", vec![format!("{directory}/{file}")]);
        }
        source
    }

    /// Fails on an unsigned source unless the template trusts the same archive.
    pub(super) fn check(&self, trusted: &[Repository]) -> Result<(), PackageError> {
        let Some(field) = &self.unsigned_by else {
            return Ok(());
        };
        let is_trusted = |uri: &String, suite: &String| {
            trusted.iter().any(|repository| {
                repository.trusted
                    && is_same_uri(&repository.uri, uri)
                    && repository.suites.contains(suite)
            })
        };
        let mut pairs = self
            .uris
            .iter()
            .flat_map(|uri| self.suites.iter().map(move |suite| (uri, suite)));
        if pairs.all(|(uri, suite)| is_trusted(uri, suite)) {
            return Ok(());
        }
        Err(PackageError::Blind {
            place: self.place.clone(),
            uri: self.uris.join(" "),
            field: field.clone(),
        })
    }

    pub(super) fn upstreams(&self) -> impl Iterator<Item = Upstream> {
        self.uris.iter().flat_map(move |uri| {
            self.suites.iter().map(move |suite| Upstream {
                uri: uri.trim_end_matches('/').to_owned(),
                suite: suite.clone(),
                components: self.components.clone(),
            })
        })
    }

    /// Formats the source for the resolver: plain `http`, package indices only.
    pub(super) fn private(&self) -> String {
        let uris = self.uris.iter().map(|uri| to_http(uri)).collect();
        let plain = Self {
            uris,
            ..self.clone()
        };
        plain.text() + "Targets: Packages\n"
    }

    fn text(&self) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\n",
            self.uris.join(" "),
            self.suites.join(" ")
        );
        // Writing to a String cannot fail.
        if !self.components.is_empty() {
            let _ = writeln!(text, "Components: {}", self.components.join(" "));
        }
        for (field, lines) in &self.fields {
            let _ = writeln!(text, "{field}: {}", lines.join("\n "));
        }
        if self.unsigned_by.is_some() {
            text += "Trusted: yes\n";
        }
        text
    }
}

/// Formats a repository of the template as it is left in the image.
pub(super) fn source_file(repository: &Repository) -> String {
    Source::of(repository, "/etc/apt/keyrings").text()
}

fn is_same_uri(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURVEY: &str = "architecture amd64
file /etc/apt/sources.list
 # deb http://example.org/old old main
 deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg] https://example.org/debian/ bookworm main contrib # here
 deb-src http://example.org/debian bookworm main
 deb cdrom:[Debian]/ bookworm main

file /etc/apt/sources.list.d/more.sources
 Types: deb deb-src
 # in the middle
 URIs: mirror+file:///etc/apt/mirrors/debian.list
 Suites: bookworm-security
  bookworm-updates
 Components: main
 Signed-By:
  -----BEGIN PGP PUBLIC KEY BLOCK-----
  .
  mDMEYCQjIxYJKwYBBAHaRw8
  -----END PGP PUBLIC KEY BLOCK-----

 Types: deb
 Enabled: no
 URIs: http://example.org/off
 Suites: off
 Components: main
file /etc/apt/mirrors/debian.list
 https://example.org/security
";

    fn source(text: &str) -> Source {
        let survey = format!("architecture amd64\nfile /etc/apt/sources.list\n {text}\n");
        read(&survey).unwrap().sources.remove(0)
    }

    fn repository(uri: &str, suite: &str, trusted: bool) -> Repository {
        Repository {
            name: "tools".to_owned(),
            uri: uri.to_owned(),
            suites: vec![suite.to_owned()],
            components: vec!["main".to_owned()],
            trusted,
            keep: true,
            key: (!trusted).then(|| b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n".to_vec()),
        }
    }

    #[test]
    fn both_formats_of_sources_are_read_and_written_for_the_proxy() {
        let survey = read(SURVEY).unwrap();
        assert_eq!(survey.architecture, "amd64");
        let private: Vec<String> = survey.sources.iter().map(Source::private).collect();
        assert_eq!(
            private,
            [
                "Types: deb\nURIs: http://example.org/debian/\nSuites: bookworm\nComponents: main contrib\n\
                 Architectures: amd64 arm64\nSigned-By: /usr/share/keyrings/a.gpg\nTargets: Packages\n",
                "Types: deb\nURIs: http://example.org/security\nSuites: bookworm-security bookworm-updates\n\
                 Components: main\nSigned-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n \
                 mDMEYCQjIxYJKwYBBAHaRw8\n -----END PGP PUBLIC KEY BLOCK-----\nTargets: Packages\n",
            ]
        );
        let upstreams: Vec<_> = survey.sources.iter().flat_map(Source::upstreams).collect();
        let shown: Vec<_> = upstreams
            .iter()
            .map(|upstream| format!("{} {}", upstream.uri, upstream.suite))
            .collect();
        assert_eq!(
            shown,
            [
                "https://example.org/debian bookworm",
                "https://example.org/security bookworm-security",
                "https://example.org/security bookworm-updates",
            ]
        );
    }

    #[test]
    fn an_unsigned_source_is_refused() {
        let trusting = [repository("http://example.org/x", "a", true)];
        for (line, trusted, good) in [
            ("deb http://example.org/x a main", &[][..], true),
            ("deb [trusted=no] http://example.org/x a main", &[], true),
            ("deb [trusted=yes] http://example.org/x a main", &[], false),
            (
                "deb [ trusted=yes arch=amd64 ] http://example.org/x a main",
                &[],
                false,
            ),
            (
                "deb [allow-insecure=yes] http://example.org/x a main",
                &[],
                false,
            ),
            (
                "deb [trusted=yes] http://example.org/x/ a main",
                &trusting,
                true,
            ),
            (
                "deb [trusted=yes] http://example.org/x b main",
                &trusting,
                false,
            ),
        ] {
            assert_eq!(source(line).check(trusted).is_ok(), good, "{line}");
        }
        let survey = "architecture amd64\nfile /etc/apt/sources.list.d/x.sources\n Types: deb\n URIs: http://example.org/x\n \
                      Suites: a\n Components: main\n Trusted: yes\n";
        let error = read(survey).unwrap().sources[0].check(&[]).unwrap_err();
        assert!(error.to_string().contains("x.sources"), "{error}");
        let own = Source::of(&trusting[0], "/d");
        assert!(own.check(&trusting).is_ok());
        assert!(own.private().contains("Trusted: yes"));
    }

    #[test]
    fn a_source_that_the_host_cannot_fetch_from_is_refused() {
        for line in [
            "deb file:/srv/archive a main",
            "deb mirror+file:/etc/x.list a main",
        ] {
            let survey = format!("architecture amd64\nfile /etc/apt/sources.list\n {line}\n");
            assert!(read(&survey).is_err(), "{line}");
        }
    }

    #[test]
    fn a_repository_of_the_template_has_its_key_beside_it() {
        let repository = repository("https://example.org/tools", "stable", false);
        let source = Source::of(&repository, "/private");
        assert!(source.private().contains("Signed-By: /private/tools.asc\n"));
        assert_eq!(
            source_file(&repository),
            "Types: deb\nURIs: https://example.org/tools\nSuites: stable\nComponents: main\nSigned-By: /etc/apt/keyrings/tools.asc\n"
        );
    }
}
