//! apt, of Debian and Ubuntu.

use super::{Asked, Installed, PackageError, PackageManager, Pin, Resolution, Script, Sources};
use crate::plan;
use crate::provision::remote::Ended;
use crate::provision::{ProvisionError, Tail};
use crate::record::lock::{Lock, Reason};

mod answer;
mod sources;

const SURVEY: &str = include_str!("survey.sh");
const SHARED: &str = include_str!("shared.sh");
const RESOLVE: &str = include_str!("resolve.sh");
const INSTALL: &str = include_str!("install.sh");

/// Debian's package manager.
pub(super) struct Apt;

impl PackageManager for Apt {
    fn survey(&self) -> &'static str {
        SURVEY
    }

    fn sources(
        &self,
        survey: &str,
        asked: &Asked,
        directory: &str,
    ) -> Result<Sources, PackageError> {
        let mut all = sources::read(survey)?.sources;
        let own = asked.repositories.iter();
        all.extend(own.map(|repository| sources::Source::of(repository, directory)));
        for source in &all {
            source.check(&asked.repositories)?;
        }
        let private = all.iter().map(sources::Source::private);
        let mut files = vec![(
            "sources/karat.sources".to_owned(),
            private.collect::<Vec<_>>().join("\n").into_bytes(),
        )];
        for repository in &asked.repositories {
            if let (Some(name), Some(key)) = (repository.key_file(), &repository.key) {
                files.push((name, key.clone()));
            }
        }
        Ok(Sources {
            upstreams: all.iter().flat_map(sources::Source::upstreams).collect(),
            files,
        })
    }

    fn resolve(&self, asked: &Asked, pins: &[Pin], proxy: &str) -> Script {
        let pins = pins
            .iter()
            .map(|Pin { name, version }| format!("{name} {version}\n"));
        Script {
            text: format!("{SHARED}{RESOLVE}"),
            environment: vec![
                ("APT_INSTALL", asked.install.join(" ")),
                ("APT_REMOVE", asked.remove.join(" ")),
                ("APT_RECOMMENDS", asked.recommends.to_string()),
                ("KARAT_PROXY", proxy.to_owned()),
            ],
            files: vec![("pins".to_owned(), pins.collect::<String>().into_bytes())],
        }
    }

    fn resolution(
        &self,
        data: &[String],
        sources: &Sources,
        asked: &Asked,
    ) -> Result<Resolution, PackageError> {
        answer::read(data, &sources.upstreams, &asked.install)
    }

    fn install(&self, asked: &Asked, lock: &Lock) -> Script {
        let removals = lock.removals.iter().map(|removal| removal.name.clone());
        let auto = lock.packages.iter().filter_map(|package| {
            let name = match package.architecture.as_str() {
                "all" => package.name.clone(),
                architecture => format!("{}:{architecture}", package.name),
            };
            (package.reason == Reason::Dependency).then_some(name)
        });
        Script {
            text: format!("{SHARED}{INSTALL}"),
            environment: vec![
                ("APT_INSTALL", asked.install.join(" ")),
                ("APT_REMOVE", removals.collect::<Vec<_>>().join(" ")),
                ("APT_AUTO", auto.collect::<Vec<_>>().join(" ")),
            ],
            files: vec![],
        }
    }

    fn kept(&self, asked: &Asked) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for repository in asked.repositories.iter().filter(|it| it.plan.keep) {
            if let (Some(name), Some(key)) = (repository.key_file(), &repository.key) {
                files.push((format!("/etc/apt/keyrings/{name}"), key.clone()));
            }
            let name = format!("/etc/apt/sources.list.d/{}.sources", repository.plan.name);
            files.push((name, sources::kept(repository).into_bytes()));
        }
        files
    }

    fn installed(&self, data: &[String]) -> (Vec<Installed>, Vec<Installed>) {
        let of = |when: &str| {
            let packages = data.iter().filter_map(|line| {
                let mut words = line
                    .strip_prefix(when)?
                    .strip_prefix(" installed ")?
                    .split(' ');
                Some(Installed {
                    name: words.next()?.to_owned(),
                    version: words.next()?.to_owned(),
                    arch: words.next()?.to_owned(),
                })
            });
            packages.collect()
        };
        (of("before"), of("after"))
    }

    fn error(&self, said: &[String], ended: Ended) -> ProvisionError {
        let mut complaints = Complaints::default();
        for line in said {
            complaints.hear(line);
        }
        complaints.error(ended)
    }
}

/// What apt would read as something else than a name (an option, `name-`) never reaches it.
pub(super) fn check(apt: &plan::Apt) -> Result<(), ProvisionError> {
    let versioned = |word: &str| {
        word.split_once('=')
            .map_or((word.to_owned(), None), |(name, version)| {
                (name.to_owned(), Some(version.to_owned()))
            })
    };
    for word in &apt.install {
        let (name, version) = versioned(word);
        if !is_name(&name) || version.is_some_and(|version| !is_version(&version)) {
            return Err(ProvisionError::PackageName(word.clone()));
        }
    }
    match apt.remove.iter().find(|name| !is_name(name)) {
        Some(name) => Err(ProvisionError::PackageName(name.clone())),
        None => Ok(()),
    }
}

/// Debian policy 5.6.1, and an architecture after a colon.
fn is_name(word: &str) -> bool {
    let (name, arch) = word.split_once(':').unwrap_or((word, "any"));
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() >= 2
        && name.starts_with(letter)
        && name
            .chars()
            .all(|c| letter(c) || matches!(c, '+' | '-' | '.'))
        && !name.ends_with('-')
        && !arch.is_empty()
        && arch.chars().all(|c| letter(c) || c == '-')
}

/// Debian policy 5.6.12.
fn is_version(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | ':'))
}

/// What apt and `apt.sh` said about declared packages.
#[derive(Default)]
struct Complaints {
    unknown: Vec<String>,
    versions: Vec<String>,
    undone: Vec<String>,
}

impl Complaints {
    fn hear(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("E: Unable to locate package ") {
            self.unknown.push(name.trim().to_owned());
        } else if let Some(rest) = line.strip_prefix("E: Version '") {
            if let Some((version, rest)) = rest.split_once("' for '")
                && let Some((name, _)) = rest.split_once('\'')
            {
                self.versions.push(format!("{name}={version}"));
            }
        } else if let Some(rest) = line.strip_prefix("E: Package '") {
            if let Some((name, _)) = rest.split_once("' has no installation candidate") {
                self.unknown.push(name.to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("karat: ") {
            self.undone.push(rest.to_owned());
        }
    }

    fn error(self, ended: Ended) -> ProvisionError {
        match ended.code {
            Some(73) if !self.unknown.is_empty() => ProvisionError::UnknownPackage(self.unknown),
            Some(73) if !self.versions.is_empty() => ProvisionError::UnknownVersion(self.versions),
            Some(75) => ProvisionError::NotAsDeclared(self.undone),
            code => phase(code, ended.output),
        }
    }
}

fn phase(code: Option<u32>, output: Option<Tail>) -> ProvisionError {
    let (phase, advice) = match code {
        Some(71) => (
            "apt-get update",
            "apt's own words are above; the archive must be reachable from this host, and its signature known to the machine",
        ),
        Some(72) => (
            "waiting for other package work in the machine",
            "look at what holds it: cloud-init or apt-daily",
        ),
        Some(73) => (
            "apt-get install",
            "apt's own words are above; `apt-get install -s` in the machine tries it again",
        ),
        Some(74) => ("apt-mark", "apt's own words are above"),
        Some(76) => (
            "making a directory",
            "the machine's disk must be writable and not full",
        ),
        _ => (
            "the package work",
            "the machine needs apt-get and dpkg, as Debian and Ubuntu have them",
        ),
    };
    ProvisionError::Apt {
        phase,
        advice,
        output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apt(install: &[&str], remove: &[&str]) -> plan::Apt {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        plan::Apt {
            install: own(install),
            remove: own(remove),
            recommends: false,
            repositories: vec![],
        }
    }

    #[test]
    fn what_is_no_name_of_a_package_is_refused() {
        for (word, good) in [
            ("nginx-light", true),
            ("g++", true),
            ("libc6:amd64", true),
            ("curl=7.88.1-10+deb12u12", true),
            ("vim=2:9.0.1378-2", true),
            ("0ad", true),
            ("", false),
            ("-y", false),
            ("nginx-", false),
            ("nginx*", false),
            ("a b", false),
            ("./local.deb", false),
            ("curl=", false),
            ("curl=$(x)", false),
            ("Nginx", false),
            ("nginx/stable", false),
            ("libc6:", false),
        ] {
            assert_eq!(
                check(&apt(&[word], &[])).is_ok(),
                good,
                "installing {word:?}"
            );
        }
        assert!(
            check(&apt(&[], &["exim4=1"])).is_err(),
            "a version to remove"
        );
    }

    #[test]
    fn an_error_names_the_packages() {
        for (code, lines, said) in [
            (
                73,
                &[
                    "E: Unable to locate package nginxx",
                    "E: Unable to locate package foo",
                ][..],
                "apt has no such package in the sources of the base: nginxx, foo",
            ),
            (
                73,
                &["E: Version '9' for 'curl' was not found"],
                "apt has no such version in the sources of the base: curl=9",
            ),
            (
                73,
                &["E: Package 'awk' has no installation candidate"],
                "apt has no such package in the sources of the base: awk",
            ),
            (73, &["E: Broken packages"], "apt-get install failed"),
            (
                71,
                &["E: Unable to locate package x"],
                "apt-get update failed",
            ),
            (
                75,
                &["karat: awk is not installed"],
                "not as declared after the packages were installed: awk is not installed",
            ),
            (127, &[], "the package work failed"),
        ] {
            let mut complaints = Complaints::default();
            for line in lines {
                complaints.hear(line);
            }
            let error = complaints.error(Ended {
                code: Some(code),
                output: None,
            });
            assert_eq!(error.to_string(), said);
        }
    }
}
