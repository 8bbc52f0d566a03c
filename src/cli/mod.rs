//! The verbs: one file each, arguments and `run` side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use crate::base::{self, bootstrap};
use crate::fetch::Mirror;
use crate::machine;
use crate::plan::{Base, Builder, Inputs, LoadError, Plan};
use crate::record::lock::Lock;
use crate::template::problem::Problem;
use crate::ui::Ui;
use crate::ui::report::Report;
use crate::ui::text::counted;

mod attest;
mod audit;
mod build;
mod completions;
mod db;
mod diff;
mod doctor;
mod examples;
mod export;
mod help;
mod history;
mod iam_policy;
mod import;
mod init;
mod keys;
mod lineage;
mod list;
mod lock;
mod logs;
mod main;
mod man;
mod outdated;
mod pin;
mod plan;
mod promote;
mod prune;
mod prune_ec2;
mod publish;
mod rebuild;
#[cfg(test)]
mod reference;
mod remove;
mod revoke;
mod rollback;
mod run;
mod scan;
mod schema;
mod shared;
mod show;
mod sign;
mod ssh;
mod store;
mod synonyms;
mod validate;
mod verify;
mod verify_ec2;
mod verify_explanation;
mod version;
mod wait;
mod why;

pub use main::main;

use shared::command_error::CommandError;
use shared::exit_status::ExitStatus;

/// Templates and the values of their variables.
#[derive(Clone, Debug, Args)]
struct TemplateArgs {
    /// Templates to read; lock files (NAME.lock.toml) among several are skipped
    #[arg(required = true, value_name = "TEMPLATE")]
    templates: Vec<PathBuf>,

    #[command(flatten)]
    variables: VariableArgs,
}

/// Values of template variables.
#[derive(Clone, Debug, Args)]
struct VariableArgs {
    /// Set a variable (overrides --var-file, the environment and the template's default)
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment)]
    vars: Vec<(String, String)>,

    /// Read variables from a TOML file with lines such as `name = "value"`
    #[arg(long = "var-file", value_name = "FILE")]
    var_files: Vec<PathBuf>,
}

impl TemplateArgs {
    /// Loads every template, or reports all errors of all of them.
    fn load(&self, existing: ExistingOutput) -> Result<Vec<Plan>, Invalid> {
        let (mut plans, mut errors) = (Vec::new(), Vec::new());
        for (_, loaded) in self.load_each(existing) {
            match loaded {
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

    /// Loads one template after the other. A shell expands `*.toml` to the lock files, too: they are skipped.
    fn load_each(
        &self,
        existing: ExistingOutput,
    ) -> impl Iterator<Item = (&Path, Result<Plan, LoadError>)> {
        let inputs = Inputs {
            inspect_base: Some(inspect_base),
            ..self.variables.inputs(existing)
        };
        let is_lock = |path: &&PathBuf| crate::plan::template_of_lock(path).is_some();
        let only_locks = self.templates.iter().all(|path| is_lock(&path));
        let templates = self.templates.iter();
        templates
            .filter(move |path| only_locks || !is_lock(path))
            .map(move |path| (path.as_path(), crate::plan::load(path, &inputs)))
    }
}

/// Returns the size of the disk of `[base.file]`, if it is known.
fn inspect_base(path: &Path) -> Result<Option<u64>, Problem> {
    base::disk_size(path).map_err(|error| {
        let help = error.help().map(|help| help.to_string());
        Problem::nowhere(error.to_string()).maybe_help(help)
    })
}

/// Warns of what probably does not work, such as steps that need the network in a sealed guest. Returns the warnings.
fn warn_of_lint(plan: &Plan, ui: &Ui) -> Vec<Report> {
    let warnings = plan.lint().into_iter().map(|warning| Report {
        position: warning.position,
        ..Report::new(warning.what, warning.help)
    });
    let mut warnings: Vec<Report> = warnings.collect();
    if let Some(Base::Bootstrap(base)) = &plan.base
        && let Some(error) = bootstrap::doubt(base)
    {
        let help = error.help().map(|help| help.to_string());
        warnings.push(Report::new(error.to_string(), help.unwrap_or_default()));
    }
    if let Builder::Qemu(guest) = &plan.builder {
        warnings.extend(machine::qemu::doubts(guest));
    }
    for warning in &warnings {
        ui.warn_of(warning);
    }
    warnings
}

impl VariableArgs {
    /// Returns the variables of the command line and the environment.
    fn inputs(&self, existing: ExistingOutput) -> Inputs {
        Inputs {
            vars: self.vars.clone(),
            var_files: self.var_files.clone(),
            force: existing == ExistingOutput::Accept,
            ..Inputs::from_environment()
        }
    }
}

/// Treatment of a file that exists already at a template's `output.path`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExistingOutput {
    /// Report it as an error of the template.
    Refuse,
    Accept,
}

impl ExistingOutput {
    /// Reads the flag `--force`.
    fn new(force: bool) -> Self {
        if force { Self::Accept } else { Self::Refuse }
    }
}

/// Additional sources of packages.
#[derive(Clone, Debug, Args)]
struct MirrorArgs {
    /// Look for packages here before asking their archive; may be repeated
    ///
    /// Any copy will do, because karat checks its digest: files under their path in the archive, their name, or their digest.
    #[arg(long = "mirror", value_name = "DIR|URL")]
    mirrors: Vec<Mirror>,
}

/// A template has no lock file yet.
#[derive(Debug, Error, Diagnostic)]
#[error("template {} has no lock file", .0.display())]
#[diagnostic(help("create it with `karat lock {}`", .0.display()))]
struct NotLocked(PathBuf);

impl ExitStatus for NotLocked {
    const EXIT_CODE: u8 = 2;
}

/// Reads a lock file, or that of a template.
fn lock_of(path: &Path) -> Result<Lock, CommandError> {
    let template = crate::plan::template_of_lock(path).unwrap_or_else(|| path.to_owned());
    match Lock::read(&Lock::path_of(&template))? {
        Some(lock) => Ok(lock),
        None if !template.is_file() => Err(LoadError::missing(&template).into()),
        None => Err(NotLocked(template).into()),
    }
}

/// Parses `name=value`. The value may contain more `=`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Templates or variables with errors.
#[derive(Debug)]
struct Invalid(Vec<LoadError>);

impl Invalid {
    /// Returns a report of each error. For people, they stand apart, with their number at the end.
    fn reports(&self, color: bool) -> Vec<Report> {
        let reports = self.0.iter().flat_map(|error| error.reports(color));
        let mut reports: Vec<Report> = reports.collect();
        for report in &mut reports {
            report.rendered = Some(report.shown() + "\n");
        }
        let count = counted(reports.len(), "error");
        if let Some(Report {
            rendered: Some(text),
            ..
        }) = reports.last_mut()
        {
            text.push('\n');
            text.push_str(&count);
        }
        reports
    }
}

/// Returns the number of errors in a template.
fn problem_count(error: &LoadError) -> usize {
    match error {
        LoadError::Template(errors) => errors.problems.len(),
        LoadError::Read { .. } | LoadError::ReadVariables { .. } => 1,
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
