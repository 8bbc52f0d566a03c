//! The verbs: one file each, arguments and `run` side by side.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use crate::fetch::Mirror;
use crate::plan::Plan;
use crate::record::lock::Lock;
use crate::template::{self, Inputs, LoadError};

pub mod attest;
pub mod audit;
pub mod build;
pub mod completions;
pub mod db;
pub mod diff;
pub mod export;
pub mod history;
pub mod iam_policy;
pub mod import;
pub mod init;
pub mod keys;
pub mod lineage;
pub mod list;
pub mod lock;
pub mod outdated;
pub mod pin;
pub mod plan;
pub mod promote;
pub mod prune;
mod prune_ec2;
pub mod publish;
pub mod rebuild;
pub mod revoke;
pub mod rollback;
pub mod scan;
pub mod shared;
pub mod show;
pub mod sign;
pub mod store;
pub mod validate;
pub mod verify;
mod verify_ec2;
pub mod wait;

pub use shared::failure::Failed;

/// Templates and the values of their variables, for every verb that reads templates.
#[derive(Clone, Debug, Args)]
pub struct TemplateArgs {
    /// Read these templates; among several, locks (NAME.lock.toml) are passed over
    #[arg(required = true, value_name = "TEMPLATE")]
    pub templates: Vec<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub variables: VariableArgs,
}

/// Values of the variables of templates.
#[derive(Clone, Debug, Args)]
pub struct VariableArgs {
    /// Give a variable a value (wins over --var-file, the environment and the template's default)
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment)]
    pub vars: Vec<(String, String)>,

    /// Read values of variables from a TOML file of lines such as `name = "value"`
    #[arg(long = "var-file", value_name = "FILE")]
    pub var_files: Vec<PathBuf>,
}

impl TemplateArgs {
    /// What the templates are loaded with.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        self.variables.inputs()
    }
}

impl VariableArgs {
    /// What the templates are loaded with.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        Inputs {
            vars: self.vars.clone(),
            var_files: self.var_files.clone(),
            ..Inputs::from_environment()
        }
    }
}

/// Where packages are looked for, for every verb that fetches them.
#[derive(Clone, Debug, Args)]
pub struct MirrorArgs {
    /// Look for packages here before their archive is asked; may be given several times
    ///
    /// Any copy will do, because the digest decides: files under their path in the archive, their name, or their digest.
    #[arg(long = "mirror", value_name = "DIR|URL")]
    pub mirrors: Vec<Mirror>,
}

/// Loads every template, or says everything that is wrong with any of them.
fn load_all(paths: &[PathBuf], inputs: &Inputs) -> Result<Vec<Plan>, Invalid> {
    let (mut plans, mut errors) = (Vec::new(), Vec::new());
    // What a shell makes of `*.toml` has the locks too.
    let is_lock = |path: &&PathBuf| path.to_string_lossy().ends_with(".lock.toml");
    let only_locks = paths.iter().all(|path| is_lock(&path));
    for path in paths.iter().filter(|path| only_locks || !is_lock(path)) {
        match template::load(path, inputs) {
            Ok(plan) => plans.push(plan),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(plans)
    } else {
        Err(Invalid(errors))
    }
}

/// A template that has no lock yet, for the verbs that read one.
#[derive(Debug, Error, Diagnostic)]
#[error("the template {} has no lock", .0.display())]
#[diagnostic(help("`karat lock {}` makes it", .0.display()))]
struct NotLocked(PathBuf);

/// The lock of a template.
fn lock_of(template: &Path) -> Result<Lock, Failed> {
    match Lock::read(&Lock::path_of(template)) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Failed::with(2, NotLocked(template.to_owned()))),
        Err(error) => Err(Failed::with(error.exit_code(), error)),
    }
}

/// `name=value`; the value may hold more `=`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Templates or arguments that are wrong: exit code 2.
#[derive(Debug)]
pub struct Invalid(pub Vec<LoadError>);

impl Invalid {
    /// All errors as the user sees them, with a count at the end.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        let mut count = 0;
        for error in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}\n", error.render(color));
            count += match error {
                LoadError::Template(errors) => errors.problems.len(),
                LoadError::Read { .. } | LoadError::ReadVariables { .. } => 1,
            };
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let _ = write!(text, "{count} {errors}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_split_at_the_first_equals_sign() {
        for (text, expected) in [
            ("a=b", Some(("a", "b"))),
            ("a=b=c", Some(("a", "b=c"))),
            ("a=", Some(("a", ""))),
            ("a", None),
            ("=bad", None),
        ] {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(assignment(text).ok(), expected, "reading {text:?}");
        }
    }
}
