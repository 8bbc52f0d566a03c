//! Debian and Ubuntu packages, inside the machine: one remote script, `apt.sh`.

use std::time::Duration;

use crate::builder::Machine;
use crate::plan::Apt;
use crate::provision::remote::{self, Ended, Interpreter, Outcome, Run};
use crate::provision::{Context, ProvisionError, Tail};

const SCRIPT: &str = include_str!("apt.sh");

/// Longest time for all of apt's work: an hour is a desktop over a slow line. Its own waits are shorter.
const LIMIT: Duration = Duration::from_hours(1);

/// Runs apt in the machine.
pub(super) async fn run<M: Machine>(
    machine: &mut M,
    apt: &Apt,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    check(apt)?;
    let mut complaints = Complaints::default();
    let outcome = {
        let mut death = machine.death();
        let run = script(apt);
        tokio::select! {
            biased;
            report = death.wait() => return Err(ProvisionError::Died(report)),
            outcome = remote::run(machine, &run, cx, |line| complaints.hear(line)) => outcome?,
        }
    };
    match outcome {
        Outcome::Ended(Ended { code: Some(0), .. }) => Ok(()),
        Outcome::Ended(ended) => Err(complaints.error(ended)),
        Outcome::Dropped(error, _) => Err(error.into()),
    }
}

fn script(apt: &Apt) -> Run<'static> {
    let environment = [
        ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("APT_INSTALL", apt.install.join(" ")),
        ("APT_REMOVE", apt.remove.join(" ")),
        ("APT_RECOMMENDS", apt.recommends.to_string()),
    ];
    Run {
        script: SCRIPT.as_bytes(),
        interpreter: Interpreter {
            program: "/bin/sh".to_owned(),
            argument: "-eu".to_owned(),
        },
        prelude: String::new(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        user: "root",
        directory: Some("/"),
        limit: LIMIT,
        survives: false,
    }
}

/// What apt would read as something else than a name (an option, `name-`) never reaches it.
fn check(apt: &Apt) -> Result<(), ProvisionError> {
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
            "check that the machine reaches its package archive, and its clock",
        ),
        Some(72) => (
            "waiting for other package work in the machine",
            "look at what holds it: cloud-init or apt-daily",
        ),
        Some(73) => (
            "apt-get install",
            "apt's own words are above; `apt-get install -s` in the machine tries it again",
        ),
        Some(74) => ("apt-get purge", "apt's own words are above"),
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

    fn apt(install: &[&str], remove: &[&str]) -> Apt {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Apt {
            install: own(install),
            remove: own(remove),
            recommends: false,
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
                "not as declared after apt was done: awk is not installed",
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
