//! apt of Debian and Ubuntu.

use super::{
    DeclaredPackages, InstalledPackage, PackageError, PackageManager, PinnedVersion, Resolution,
    Script, Sources,
};
use crate::plan::PackageSet;
use crate::provision::remote::Ended;
use crate::provision::{ProvisionError, Tail};
use crate::record::lock::{InstallReason, Lock};

mod answer;
mod sources;

const SURVEY: &str = include_str!("survey.sh");
const SHARED: &str = include_str!("shared.sh");
const RESOLVE: &str = include_str!("resolve.sh");
const INSTALL: &str = include_str!("install.sh");

pub(super) struct Apt;

impl PackageManager for Apt {
    fn survey(&self) -> &'static str {
        SURVEY
    }

    fn sources(
        &self,
        survey: &str,
        declared: &DeclaredPackages,
        directory: &str,
    ) -> Result<Sources, PackageError> {
        let mut all = sources::read(survey)?.sources;
        let own = declared.repositories.iter();
        all.extend(own.map(|repository| sources::Source::of(repository, directory)));
        for source in &all {
            source.check(&declared.repositories)?;
        }
        let private = all.iter().map(sources::Source::private);
        let mut files = vec![(
            "sources/karat.sources".to_owned(),
            private.collect::<Vec<_>>().join("\n").into_bytes(),
        )];
        for repository in &declared.repositories {
            if let (Some(name), Some(key)) = (repository.key_file(), &repository.key) {
                files.push((name, key.clone()));
            }
        }
        Ok(Sources {
            upstreams: all.iter().flat_map(sources::Source::upstreams).collect(),
            files,
        })
    }

    fn resolve(&self, declared: &DeclaredPackages, pins: &[PinnedVersion], proxy: &str) -> Script {
        let pins = pins
            .iter()
            .map(|PinnedVersion { name, version }| format!("{name} {version}\n"));
        Script {
            text: format!("{SHARED}{RESOLVE}"),
            environment: vec![
                ("APT_INSTALL", declared.install.join(" ")),
                ("APT_REMOVE", declared.remove.join(" ")),
                ("APT_RECOMMENDS", declared.recommends.to_string()),
                ("KARAT_PROXY", proxy.to_owned()),
            ],
            files: vec![("pins".to_owned(), pins.collect::<String>().into_bytes())],
        }
    }

    fn resolution(
        &self,
        data: &[String],
        sources: &Sources,
        declared: &DeclaredPackages,
    ) -> Result<Resolution, PackageError> {
        answer::read(data, &sources.upstreams, &declared.install)
    }

    fn install(&self, declared: &DeclaredPackages, lock: &Lock) -> Script {
        let removals = lock.removals.iter().map(|removal| removal.name.clone());
        let auto = lock.packages.iter().filter_map(|package| {
            let name = match package.architecture.as_str() {
                "all" => package.name.clone(),
                architecture => format!("{}:{architecture}", package.name),
            };
            (package.reason == InstallReason::Dependency).then_some(name)
        });
        Script {
            text: format!("{SHARED}{INSTALL}"),
            environment: vec![
                ("APT_INSTALL", declared.install.join(" ")),
                ("APT_REMOVE", removals.collect::<Vec<_>>().join(" ")),
                ("APT_AUTO", auto.collect::<Vec<_>>().join(" ")),
            ],
            files: vec![],
        }
    }

    fn kept(&self, declared: &DeclaredPackages) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for repository in declared.repositories.iter().filter(|own| own.keep) {
            if let (Some(name), Some(key)) = (repository.key_file(), &repository.key) {
                files.push((format!("/etc/apt/keyrings/{name}"), key.clone()));
            }
            let name = format!("/etc/apt/sources.list.d/{}.sources", repository.name);
            files.push((name, sources::source_file(repository).into_bytes()));
        }
        files
    }

    fn installed(&self, data: &[String], when: &str) -> Vec<InstalledPackage> {
        let installed = data.iter().filter_map(|line| {
            let mut words = line
                .strip_prefix(when)?
                .strip_prefix(" installed ")?
                .split(' ');
            Some(InstalledPackage {
                name: words.next()?.to_owned(),
                version: words.next()?.to_owned(),
                arch: words.next()?.to_owned(),
            })
        });
        installed.collect()
    }

    fn error(&self, said: &[String], ended: Ended) -> ProvisionError {
        let mut complaints = Complaints::default();
        for line in said {
            complaints.parse(line);
        }
        complaints.error(ended)
    }
}

/// Rejects words that apt would not read as a name, such as an option or `name-`.
pub(super) fn check(packages: &PackageSet) -> Result<(), ProvisionError> {
    for word in &packages.install {
        let valid = match word.split_once('=') {
            Some((name, version)) => is_name(name) && is_version(version),
            None => is_name(word),
        };
        if !valid {
            return Err(ProvisionError::PackageName(word.clone()));
        }
    }
    match packages.remove.iter().find(|name| !is_name(name)) {
        Some(name) => Err(ProvisionError::PackageName(name.clone())),
        None => Ok(()),
    }
}

/// Checks a name by Debian policy 5.6.1, with an optional architecture after a colon.
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

/// Checks a version by Debian policy 5.6.12.
fn is_version(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | ':'))
}

/// Messages of apt and its scripts about declared packages.
#[derive(Default)]
struct Complaints {
    unknown: Vec<String>,
    versions: Vec<String>,
    undone: Vec<String>,
}

impl Complaints {
    fn parse(&mut self, line: &str) {
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
            "see apt's messages above; this host must reach the archive, and the machine must know its signature",
        ),
        Some(72) => (
            "waiting for other package work in the machine",
            "check what is blocking it: cloud-init or apt-daily",
        ),
        Some(73) => (
            "apt-get install",
            "see apt's messages above; `apt-get install -s` in the machine shows them again",
        ),
        Some(74) => ("apt-mark", "see apt's messages above"),
        Some(76) => (
            "creating a directory",
            "the machine's disk must be writable and not full",
        ),
        _ => (
            "the package operation",
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
    use crate::record::lock::Manager;

    #[test]
    fn an_invalid_package_name_is_refused() {
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
                check(&PackageSet::declaring(Manager::Apt, &[word], &[])).is_ok(),
                good,
                "installing {word:?}"
            );
        }
        assert!(
            check(&PackageSet::declaring(Manager::Apt, &[], &["exim4=1"])).is_err(),
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
                "apt does not know these packages: nginxx, foo",
            ),
            (
                73,
                &["E: Version '9' for 'curl' was not found"],
                "apt does not know these package versions: curl=9",
            ),
            (
                73,
                &["E: Package 'awk' has no installation candidate"],
                "apt does not know these packages: awk",
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
                "the installed packages differ from the declared ones: awk is not installed",
            ),
            (127, &[], "the package operation failed"),
        ] {
            let mut complaints = Complaints::default();
            for line in lines {
                complaints.parse(line);
            }
            let error = complaints.error(Ended {
                code: Some(code),
                line: None,
                output: None,
            });
            assert_eq!(error.to_string(), said);
        }
    }
}
