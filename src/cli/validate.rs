//! `karat validate`

use clap::Args;
use serde_json::json;

use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::{CommandError, ExistingOutput, Invalid, TemplateArgs, warn_of_lint};
use crate::plan::{Ami, Base, Builder, Plan};
use crate::ui::Ui;
use crate::ui::report::Report;
use crate::ui::text::counted;

/// Check templates without launching anything
///
/// Prints one line for each valid template and all errors of the others, and warns of commands that cannot work in a sealed
/// guest. JSON has these in `warnings`. Reads the files that the templates name, but no secrets. Lock files (NAME.lock.toml)
/// are skipped. With --quiet, prints no line for a valid template.
#[derive(Clone, Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    #[command(flatten)]
    format: FormatArgs,
}

/// Checks every template, even after one has errors.
pub(crate) fn run(args: &ValidateArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let mut errors = Vec::new();
    let format = args.format.with_json_as(OutputFormat::Json);
    let mut records = out.records(format);
    for (path, loaded) in args.templates.load_each(ExistingOutput::Refuse) {
        match loaded {
            Ok(plan) => {
                let warnings = warn_of_lint(&plan, ui);
                let warnings: Vec<_> = warnings.iter().map(Report::document).collect();
                let line = json!({
                    "template": path.display().to_string(), "valid": true, "name": plan.image.name,
                    "machine": machine(&plan), "files": plan.files.len(), "steps": plan.steps.len(),
                    "tests": plan.tests.len(), "left_out": plan.left_out.len(), "warnings": warnings,
                });
                if format != OutputFormat::Text || !ui.is_quiet() {
                    records.add(&line, || format!("{}: {}", path.display(), summary(&plan)))?;
                }
            }
            Err(error) => {
                if format != OutputFormat::Text {
                    let template = path.display().to_string();
                    let count = super::problem_count(&error);
                    let line = json!({"template": template, "valid": false, "errors": count});
                    records.add(&line, String::new)?;
                }
                errors.push(error);
            }
        }
    }
    records.finish()?;
    if errors.is_empty() {
        return Ok(());
    }
    Err(Invalid(errors).into())
}

fn summary(plan: &Plan) -> String {
    let counts = [
        (plan.files.len(), "file"),
        (plan.steps.len(), "step"),
        (plan.tests.len(), "test"),
    ];
    let counts = counts.map(|(count, what)| counted(count, what));
    let left_out = match plan.left_out.len() {
        0 => String::new(),
        count => format!(", {} left out", counted(count, "step")),
    };
    format!(
        "ok, image `{}` ({}), {}{left_out}",
        plan.image.name,
        machine(plan),
        counts.join(", ")
    )
}

/// Names the builder and what it starts from.
fn machine(plan: &Plan) -> String {
    match (&plan.base, &plan.builder) {
        (_, Builder::Host(host)) => format!("host {}", host.address),
        (Some(Base::File { path, .. }), _) => {
            format!("qemu, {}", path.file_name().unwrap_or_default().display())
        }
        (Some(Base::Url { url, .. }), _) => format!("qemu, {url}"),
        (Some(Base::Manifest(name)), _) => format!("qemu, {name}"),
        (Some(Base::Bootstrap(base)), _) => {
            format!("qemu, {} {}", base.distribution, base.suite)
        }
        (Some(Base::Ami(Ami::Id(id))), _) => format!("ec2, {id}"),
        (Some(Base::Ami(Ami::Newest { filters, .. })), _) => match filters.get("name") {
            Some(names) => format!("ec2, {}", names.join(" or ")),
            None => "ec2, the newest AMI".to_owned(),
        },
        (None, Builder::Qemu(_)) => "qemu".to_owned(),
        (None, Builder::Ec2(_)) => "ec2".to_owned(),
    }
}
