//! `karat plan --unneeded`

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::store_args::{plain, size};
use crate::cli::Failed;
use crate::distro::debian::closure::{self, Declared};
use crate::distro::debian::deb;
use crate::distro::debian::status::{self, Package};
use crate::fetch::Cache;
use crate::pipeline::base_packages::status_path;
use crate::plan::Plan;

/// Why it cannot be told what a base has too much.
#[derive(Debug, Error, Diagnostic)]
enum UnneededError {
    /// The base is not known here.
    #[error("what is installed in the base of {} is not known here", .0.display())]
    #[diagnostic(help(
        "`karat build`, and `karat lock --update`, boot the base and look; do either first"
    ))]
    NoStatus(PathBuf),
    /// A package that is to be installed is not known here.
    #[error("what {name} needs is not known here")]
    #[diagnostic(help("`karat build {}` fetches the packages of the lock; do that first", template.display()))]
    NoPackage {
        /// The package.
        name: String,
        /// The template.
        template: PathBuf,
        /// Why its file could not be read.
        source: io::Error,
    },
    /// Packages of another kind.
    #[error("{} declares no packages of apt", .0.display())]
    #[diagnostic(help("only the packages of a Debian or Ubuntu base are told apart"))]
    NotApt(PathBuf),
}

/// A package of the base that nothing declared needs.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    version: &'a str,
    architecture: &'a str,
    /// Bytes on the disk.
    size: u64,
}

/// Prints what the bases of the templates have too much.
pub(in crate::cli) fn run(plans: &[Plan], json: bool, out: &mut dyn Write) -> Result<(), Failed> {
    let cache = Cache::of_user().map_err(Failed::new)?;
    for (index, plan) in plans.iter().enumerate() {
        if index > 0 && !json {
            writeln!(out).map_err(Failed::stdout)?;
        }
        one(plan, &cache, json, out)?;
    }
    Ok(())
}

fn one(plan: &Plan, cache: &Cache, json: bool, out: &mut dyn Write) -> Result<(), Failed> {
    let template = &plan.template.path;
    let lock = crate::cli::lock_of(template)?;
    let apt = plan.packages.apt.as_ref();
    let apt = apt.ok_or_else(|| Failed::with(2, UnneededError::NotApt(template.clone())))?;
    let unknown = || Failed::new(UnneededError::NoStatus(template.clone()));

    let of_base = lock
        .base
        .map(|base| status_path(cache.root(), &base.digest));
    let base = of_base
        .and_then(|path| std::fs::read(path).ok())
        .ok_or_else(unknown)?;
    let base = String::from_utf8_lossy(&base);
    let mut coming = String::new();
    for package in &lock.packages {
        let control = File::open(cache.path(&package.sha256))
            .and_then(|deb| deb::control(BufReader::new(deb)));
        let control = control.map_err(|source| {
            let (name, template) = (package.name.clone(), template.clone());
            Failed::new(UnneededError::NoPackage {
                name,
                template,
                source,
            })
        })?;
        // With an end, whatever the file has there.
        coming.extend([control.trim_end(), "\n\n"]);
    }
    let removed = |package: &Package<'_>| {
        let names = lock
            .removals
            .iter()
            .map(|removal| removal.name.split(':').next());
        names.flatten().any(|name| name == package.name)
    };
    let mut installed = status::installed(&base);
    installed.retain(|package| !removed(package));
    let declared = Declared {
        names: &apt.install,
        coming: &status::offered(&coming),
        recommends: apt.recommends,
    };
    let unneeded = closure::unneeded(&installed, declared);
    let lines = unneeded.into_iter().map(|package| Line {
        name: package.name,
        version: package.version,
        architecture: package.architecture,
        size: package.installed_size * 1024,
    });
    print(&lines.collect::<Vec<_>>(), installed.len(), json, out).map_err(Failed::stdout)
}

fn print(lines: &[Line<'_>], installed: usize, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(lines)?)?;
        return out.flush();
    }
    let name = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let version = lines
        .iter()
        .map(|line| line.version.len())
        .max()
        .unwrap_or(0);
    for line in lines {
        let row = format!(
            "{:name$}  {:version$}  {:>10}",
            line.name,
            line.version,
            size(line.size)
        );
        writeln!(out, "{}", plain(&row))?;
    }
    let total = lines.iter().map(|line| line.size).sum();
    let count = lines.len();
    writeln!(out, "{count} of {installed} packages, {}", size(total))?;
    out.flush()
}
