//! `karat version`

use std::fmt::Write as _;
use std::process::Command;
use std::sync::{LazyLock, OnceLock};

use clap::Args;
use serde::Serialize;

use super::CommandError;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use crate::machine::qemu;
use crate::os::requirement::requirement;
use crate::os::search_path;
use crate::plan::Arch;

/// Commit that karat was built from. Builds of a source archive have none.
static COMMIT: OnceLock<&'static str> = OnceLock::new();

/// Text of `karat --version`: version, and the commit if it is known.
pub(super) static SHORT: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    commit().map_or_else(
        || version.to_owned(),
        |commit| format!("{version} ({commit})"),
    )
});

/// Programs whose versions matter most.
fn tools() -> [&'static str; 4] {
    [
        qemu::program(Arch::of_host()),
        "qemu-img",
        "mmdebstrap",
        "mke2fs",
    ]
}

/// Show the versions of karat and of the programs that it runs
#[derive(Clone, Debug, Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Versions {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'static str>,
    tools: Vec<Tool>,
}

#[derive(Serialize)]
struct Tool {
    name: &'static str,
    /// `None` if the program was not found.
    version: Option<String>,
}

pub(crate) fn run(args: &VersionArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let tools = tools().map(|name| Tool {
        name,
        version: version_of(name),
    });
    let versions = Versions {
        version: env!("CARGO_PKG_VERSION"),
        commit: commit(),
        tools: tools.into(),
    };
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &versions, || text(&versions))
}

pub(super) fn set_commit(commit: Option<&'static str>) {
    if let Some(commit) = commit.filter(|commit| !commit.is_empty()) {
        COMMIT.get_or_init(|| commit);
    }
}

fn commit() -> Option<&'static str> {
    COMMIT.get().copied()
}

fn text(versions: &Versions) -> String {
    let mut text = format!("karat {}\n", *SHORT);
    for Tool { name, version } in &versions.tools {
        let version = version.as_deref().unwrap_or("not found");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} {version}");
    }
    text
}

/// Returns the version that a program prints; `None` if it was not found.
fn version_of(program: &str) -> Option<String> {
    let option = requirement(program).version.as_deref()?;
    let path = search_path::find_system(program)?;
    let output = Command::new(path).arg(option).output().ok()?;
    // mke2fs prints its version on stderr.
    let text = [output.stdout, output.stderr].concat();
    first_version(&String::from_utf8_lossy(&text)).map(str::to_owned)
}

/// Returns the first version in the output of a program.
pub(super) fn first_version(text: &str) -> Option<&str> {
    let mut words = text.split_whitespace();
    let word = words.find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    Some(word.trim_end_matches([',', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_programs_are_recognized() {
        for (text, expected) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2)\nCopyright",
                Some("10.0.2"),
            ),
            ("mmdebstrap 1.3.5\n", Some("1.3.5")),
            ("mke2fs 1.47.0 (5-Feb-2023)\n", Some("1.47.0")),
            ("setpriv from util-linux 2.38.1", Some("2.38.1")),
            ("qemu-img version 7.2, Copyright 2022", Some("7.2")),
            ("no number", None),
        ] {
            assert_eq!(first_version(text), expected, "{text}");
        }
    }
}
