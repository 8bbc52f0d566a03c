//! `karat plan --unneeded`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::Failed;
use super::stored::{plain, size};
use crate::debian::needed::{self, Declared};
use crate::debian::status::{self, Package};
use crate::digest::Digest;
use crate::fetch::Cache;
use crate::lock::{Lock, LockError};
use crate::plan::Plan;

/// Why it cannot be told what a base has too much.
#[derive(Debug, Error, Diagnostic)]
enum UnneededError {
    /// The base is not known here.
    #[error("what is installed in the base of {} is not known here", .0.display())]
    #[diagnostic(help("run `karat lock --update {}` first: it boots the base and looks", .0.display()))]
    NoStatus(PathBuf),
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
pub(super) fn run(plans: &[Plan], json: bool, out: &mut dyn Write) -> Result<(), Failed> {
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
    let path = Lock::path_of(template);
    let lock = Lock::read(&path).and_then(|lock| lock.ok_or(LockError::Missing(path)));
    let lock = lock.map_err(|error| Failed::with(error.exit_code(), error))?;
    let apt = plan.packages.apt.as_ref();
    let apt = apt.ok_or_else(|| Failed::with(2, UnneededError::NotApt(template.clone())))?;
    let unknown = || Failed::new(UnneededError::NoStatus(template.clone()));

    let of_base = lock.base.map(|base| base.digest);
    let base = of_base
        .and_then(|digest| known(cache, &digest))
        .ok_or_else(unknown)?;
    // What the declared packages need is in the same place, under the digest of what was asked.
    let coming = match lock.packages.as_slice() {
        [] => String::new(),
        _ => known(cache, &lock.inputs).ok_or_else(unknown)?,
    };
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
    let unneeded = needed::unneeded(&installed, declared);
    let lines = unneeded.into_iter().map(|package| Line {
        name: package.name,
        version: package.version,
        architecture: package.architecture,
        size: package.installed_size * 1024,
    });
    print(&lines.collect::<Vec<_>>(), installed.len(), json, out).map_err(Failed::stdout)
}

fn known(cache: &Cache, digest: &Digest) -> Option<String> {
    let bytes = std::fs::read(status_path(cache.root(), digest)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the status of a base, by its digest, and the packages of a lock, by its `inputs`, are kept.
#[must_use]
pub fn status_path(cache: &Path, digest: &Digest) -> PathBuf {
    cache.join("status").join(digest.hex())
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
