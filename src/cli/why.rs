//! `karat show --why`

use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::CommandError;
use super::shared::exit_status::ExitStatus;
use super::shared::stdout::{OutputFormat, Stdout};
use crate::record::explanation::Cause;
use crate::record::manifest::{Manifest, ManifestId, Origin};
use crate::store::{CauseLookup, Store, StoredManifest};
use crate::ui::text::terminal_safe;

/// A path without a cause.
#[derive(Debug, Error, Diagnostic)]
enum WhyError {
    #[error("the image {id} has no {path}")]
    #[diagnostic(help("give the absolute path of a file, directory or link in the image"))]
    NoPath { id: ManifestId, path: String },
    #[error("the store has no explanation of the files of {id}")]
    #[diagnostic(help(
        "a build explains them when its scan includes the check `undeclared`; build the image again"
    ))]
    NotExplained { id: ManifestId },
}

impl ExitStatus for WhyError {}

/// A path and its cause, as JSON.
#[derive(Serialize)]
struct Explained<'a> {
    path: &'a str,
    #[serde(flatten)]
    cause: &'a Cause,
}

/// Prints what put a path into an image.
pub(super) fn show(
    store: &Store,
    stored: &StoredManifest,
    path: &str,
    format: OutputFormat,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let id = stored.id;
    let (path, cause) = match store.cause_of(&stored.manifest, path)? {
        CauseLookup::Found(path, cause) => (path, cause),
        CauseLookup::NoPath => {
            let path = path.to_owned();
            return Err(WhyError::NoPath { id, path }.into());
        }
        CauseLookup::NotExplained => return Err(WhyError::NotExplained { id }.into()),
    };
    let explained = Explained {
        path: &path,
        cause: &cause,
    };
    out.document(format, &explained, || {
        let cause = told(&cause, &stored.manifest);
        terminal_safe(&format!("{path}: {cause}")) + "\n"
    })
}

fn told(cause: &Cause, manifest: &Manifest) -> String {
    match cause {
        Cause::Base => format!("the base, {}", manifest.inputs.base.digest),
        Cause::Package { package } => {
            let mut packages = manifest.outputs.packages.iter();
            match packages.find(|installed| installed.name == *package) {
                Some(installed) => {
                    let origin = match installed.origin {
                        Origin::Base => "of the base",
                        Origin::Declared => "declared",
                        Origin::Dependency => "a dependency",
                    };
                    format!("the package {package} {}, {origin}", installed.version)
                }
                None => format!("the package {package}"),
            }
        }
        Cause::Scripts {
            package: Some(package),
        } => format!("made by the maintainer scripts of {package}"),
        Cause::Scripts { package: None } => {
            "made by maintainer scripts, or by the running system, before the first step".to_owned()
        }
        Cause::Declared { by } => by.clone(),
        Cause::Enabled => "a step that enables the unit as its [Install] section says".to_owned(),
        Cause::Accounts => "declared accounts".to_owned(),
        Cause::Running => "the running system".to_owned(),
        Cause::Undeclared => "nothing that is declared; the policy accepted it".to_owned(),
    }
}
