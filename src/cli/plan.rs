//! `karat plan`

use clap::Args;

use super::shared::autoremovable;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::{CommandError, ExistingOutput, TemplateArgs, warn_of_lint};
use crate::ui::Ui;

/// Show what a build will do, with every default filled in
///
/// Touches no machine and reads no secret; secrets are shown by name. The same template and variables always give the
/// same text.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    #[command(flatten)]
    format: FormatArgs,

    /// Accept an output file that exists already, as `build --force` does
    #[arg(long)]
    force: bool,

    /// List packages of the base that no declared package needs, instead of the plan
    ///
    /// Needs the lock file and the package list of the base, which `karat lock` has read. Leaves out boot loader, kernel,
    /// the packages that karat logs in with, and everything that may be needed. Remove the others with `packages.apt.remove`.
    #[arg(long)]
    unneeded: bool,
}

/// Prints the plan of every template, or nothing when one of them has errors.
pub(crate) fn run(args: &PlanArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let plans = args.templates.load(ExistingOutput::new(args.force))?;
    let format = args.format.with_json_as(OutputFormat::Documents);
    if args.unneeded {
        return autoremovable::run(&plans, format, out);
    }
    let mut records = out.records(format);
    for (index, plan) in plans.iter().enumerate() {
        warn_of_lint(plan, ui);
        records.add(&plan.relative(), || {
            let gap = if index == 0 { "" } else { "\n" };
            format!("{gap}{}", plan.to_text().trim_end_matches('\n'))
        })?;
    }
    records.finish()
}
