//! Programs and files of the host that karat needs, and the packages that contain them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use miette::Diagnostic;
use serde::Deserialize;
use thiserror::Error;

use super::os_release;
use crate::embedded::rows;

/// An entry of `requirements.toml`, which describes the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requirement {
    pub name: String,
    pub purpose: String,
    pub version: Option<String>,
    apt: String,
    dnf: String,
}

static REQUIREMENTS: LazyLock<Vec<Requirement>> =
    LazyLock::new(|| rows(include_str!("requirements.toml"), "requirement"));

/// Programs that are not installed.
#[derive(Clone, PartialEq, Eq, Debug, Error, Diagnostic)]
#[error("{} {} not installed", list(.0), if .0.len() == 1 { "is" } else { "are" })]
#[diagnostic(help("{}", install_advice(.0)))]
pub struct MissingPrograms(pub(crate) Vec<&'static str>);

fn list(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        names => names.concat(),
    }
}

/// Checks that `find` finds all of these programs.
pub(crate) fn require_programs(
    names: &[&'static str],
    find: fn(&str) -> Option<PathBuf>,
) -> Result<(), MissingPrograms> {
    let mut missing = names.to_vec();
    missing.retain(|name| find(name).is_none());
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MissingPrograms(missing))
    }
}

/// Returns the entry of a program or a set of files.
///
/// # Panics
/// The table has no such entry.
pub(crate) fn requirement(name: &str) -> &'static Requirement {
    let mut all = REQUIREMENTS.iter();
    all.find(|requirement| requirement.name == name)
        .unwrap_or_else(|| panic!("requirements.toml has no {name:?}"))
}

/// Returns advice to install these programs or files, for the help of an error.
pub(crate) fn install_advice(names: &[&str]) -> String {
    let command = install_command(names, &os_release::read(Path::new("/")));
    format!("{command}; `karat doctor` checks this host")
}

/// Returns advice without the pointer to `karat doctor`. `release` is the text of `/etc/os-release`.
pub(crate) fn install_command(names: &[&str], release: &str) -> String {
    let is_like = |families: &[&str]| {
        let like = os_release::value(release, "ID_LIKE").split_whitespace();
        like.chain([os_release::value(release, "ID")])
            .any(|id| families.contains(&id))
    };
    let packages = |of: fn(&Requirement) -> &str| {
        let mut packages: Vec<&str> = names.iter().map(|name| of(requirement(name))).collect();
        packages.dedup();
        packages.join(" ")
    };
    if is_like(&["fedora", "rhel"]) {
        format!("install it: `dnf install {}`", packages(|entry| &entry.dnf))
    } else if is_like(&["debian", "ubuntu"]) {
        format!(
            "install it: `apt-get install {}`",
            packages(|entry| &entry.apt)
        )
    } else {
        let packages = packages(|entry| &entry.apt);
        format!("install the package that has it, on Debian `{packages}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_packages_of_the_host() {
        for (release, expected) in [
            (
                "ID=debian\n",
                "install it: `apt-get install qemu-utils util-linux`",
            ),
            (
                "NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                "install it: `apt-get install qemu-utils util-linux`",
            ),
            (
                "ID=fedora\n",
                "install it: `dnf install qemu-img util-linux`",
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                "install it: `dnf install qemu-img util-linux`",
            ),
            (
                "ID=arch\n",
                "install the package that has it, on Debian `qemu-utils util-linux`",
            ),
            (
                "",
                "install the package that has it, on Debian `qemu-utils util-linux`",
            ),
        ] {
            let names = ["qemu-img", "setpriv", "unshare"];
            assert_eq!(install_command(&names, release), expected, "{release:?}");
        }
    }

    #[test]
    fn every_program_that_karat_runs_is_in_the_table() {
        for name in [
            "qemu-system-x86_64",
            "qemu-system-aarch64",
            "qemu-img",
            "setpriv",
            "ssh",
            "git",
        ] {
            assert!(!requirement(name).purpose.is_empty());
        }
        let names: std::collections::HashSet<_> =
            REQUIREMENTS.iter().map(|entry| &entry.name).collect();
        assert_eq!(names.len(), REQUIREMENTS.len(), "a name is listed twice");
    }

    #[test]
    fn several_missing_programs_are_one_error() {
        let one = MissingPrograms(vec!["qemu-img"]);
        assert_eq!(one.to_string(), "qemu-img is not installed");
        let three = MissingPrograms(vec!["a", "b", "c"]);
        assert_eq!(three.to_string(), "a, b and c are not installed");
        let two = MissingPrograms(vec!["mmdebstrap", "mke2fs"]);
        assert_eq!(two.to_string(), "mmdebstrap and mke2fs are not installed");
        let help = two.help().unwrap().to_string();
        assert!(
            help.ends_with("; `karat doctor` checks this host"),
            "{help}"
        );
    }
}
