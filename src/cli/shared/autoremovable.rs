//! `karat plan --unneeded`

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::stdout::{OutputFormat, Stdout};
use crate::cli::{CommandError, ExitStatus};
use crate::distro::debian::closure::{self, Declared};
use crate::distro::debian::deb;
use crate::distro::debian::status::{self, Package};
use crate::fetch::Cache;
use crate::pipeline::base_packages::status_path;
use crate::plan::Plan;
use crate::record::lock::{Lock, Manager};
use crate::ui::text::{human_size, terminal_safe};

/// The unneeded packages of a base cannot be determined.
#[derive(Debug, Error, Diagnostic)]
enum UnneededError {
    #[error("the package list of the base of {} is not in the cache", .0.display())]
    #[diagnostic(help(
        "`karat build` and `karat lock --update` boot the base and read it; run one of them first"
    ))]
    NoStatus(PathBuf),
    #[error("the dependencies of {name} are not known")]
    #[diagnostic(help("`karat build {}` fetches the packages of the lock file; run it first", template.display()))]
    NoPackage {
        name: String,
        template: PathBuf,
        source: io::Error,
    },
    #[error("{} declares no apt packages", .0.display())]
    #[diagnostic(help("unneeded packages are found in Debian and Ubuntu bases only"))]
    NotApt(PathBuf),
}

impl ExitStatus for UnneededError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NotApt(_) => 2,
            Self::NoStatus(_) | Self::NoPackage { .. } => 1,
        }
    }
}

/// A package of the base that no declared package needs.
#[derive(Serialize)]
struct Line {
    template: String,
    name: String,
    version: String,
    architecture: String,
    /// Installed size in bytes.
    size: u64,
}

/// Prints the unneeded packages of the templates' bases.
pub(in crate::cli) fn run(
    plans: &[Plan],
    format: OutputFormat,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let cache = Cache::of_user()?;
    let mut all = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let (lines, installed) = unneeded(plan, &cache)?;
        match format {
            OutputFormat::Json | OutputFormat::Jsonl => all.extend(lines),
            OutputFormat::Documents => out.json(&lines)?,
            OutputFormat::Text => {
                let gap = if index == 0 { "" } else { "\n" };
                out.text(&format!("{gap}{}", text(&lines, installed)))?;
            }
        }
    }
    match format {
        OutputFormat::Json | OutputFormat::Jsonl => out.list(format, &all, String::new),
        OutputFormat::Documents | OutputFormat::Text => Ok(()),
    }
}

/// Returns the unneeded packages of a base, and the number of packages in it.
fn unneeded(plan: &Plan, cache: &Cache) -> Result<(Vec<Line>, usize), CommandError> {
    let template = &plan.template.path;
    let lock = crate::cli::lock_of(template)?;
    let packages = plan.packages.as_ref();
    let apt = packages.filter(|packages| packages.manager == Manager::Apt);
    let apt = apt.ok_or_else(|| UnneededError::NotApt(template.clone()))?;
    let base = lock
        .base
        .as_ref()
        .and_then(|base| std::fs::read(status_path(cache.root(), &base.digest)).ok())
        .ok_or_else(|| UnneededError::NoStatus(template.clone()))?;
    let base = String::from_utf8_lossy(&base);
    let locked = locked_packages(plan, &lock, cache)?;
    let is_removed = |package: &Package<'_>| {
        let names = lock
            .removals
            .iter()
            .filter_map(|removal| removal.name.split(':').next());
        { names }.any(|name| name == package.name)
    };
    let mut installed = status::installed(&base);
    installed.retain(|package| !is_removed(package));
    let declared = Declared {
        names: &apt.install,
        coming: &status::offered(&locked),
        recommends: apt.recommends,
    };
    let lines = closure::unneeded(&installed, declared).into_iter();
    let lines = lines.map(|package| Line {
        template: template.display().to_string(),
        name: package.name.to_owned(),
        version: package.version.to_owned(),
        architecture: package.architecture.to_owned(),
        size: package.installed_size * 1024,
    });
    Ok((lines.collect(), installed.len()))
}

/// Returns the control paragraphs of the locked packages, which are read from the cache.
fn locked_packages(plan: &Plan, lock: &Lock, cache: &Cache) -> Result<String, UnneededError> {
    let mut paragraphs = String::new();
    for package in &lock.packages {
        let control = File::open(cache.path(&package.sha256))
            .and_then(|deb| deb::control(BufReader::new(deb)))
            .map_err(|source| UnneededError::NoPackage {
                name: package.name.clone(),
                template: plan.template.path.clone(),
                source,
            })?;
        // Paragraphs end with an empty line, whatever the file ends with.
        paragraphs.extend([control.trim_end(), "\n\n"]);
    }
    Ok(paragraphs)
}

fn text(lines: &[Line], installed: usize) -> String {
    let width = |cell: fn(&Line) -> usize| lines.iter().map(cell).max().unwrap_or(0);
    let (name, version) = (
        width(|line| line.name.len()),
        width(|line| line.version.len()),
    );
    let mut text = String::new();
    for line in lines {
        let row = format!(
            "{:name$}  {:version$}  {:>10}",
            line.name,
            line.version,
            human_size(line.size)
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", terminal_safe(&row));
    }
    let total = lines.iter().map(|line| line.size).sum();
    let count = lines.len();
    let _ = writeln!(
        text,
        "{count} of {installed} packages, {}",
        human_size(total)
    );
    text
}
