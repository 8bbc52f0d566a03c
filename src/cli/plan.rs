//! `karat plan`

use std::io::Write;

use clap::Args;

use super::shared::autoremovable;
use super::{Failed, TemplateArgs};

/// Show what a build will do, with every default filled in
///
/// Touches no machine and reads no secret; secrets are shown by name. The same template and variables always give the
/// same text.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    /// Print JSON, one document per template
    #[arg(long)]
    json: bool,

    /// Accept an output that exists already, as `build --force` does
    #[arg(long)]
    force: bool,

    /// List the packages of the base that nothing declared needs, instead of the plan
    ///
    /// Needs the lock, and what `karat lock` has found in the base. What the machine boots with, what karat gets in by,
    /// and everything that might be needed, is left out; `packages.apt.remove` takes the rest away.
    #[arg(long)]
    unneeded: bool,
}

/// Prints the plan of every template; nothing at all when one of them is wrong.
///
/// # Errors
/// Everything that is wrong with any of them; or stdout cannot be written.
pub fn run(args: &PlanArgs, out: &mut dyn Write) -> Result<(), Failed> {
    let mut inputs = args.templates.inputs();
    inputs.force = args.force;
    let plans = super::load_all(&args.templates.templates, &inputs)?;
    if args.unneeded {
        return autoremovable::run(&plans, args.json, out);
    }
    for (index, plan) in plans.iter().enumerate() {
        let text = if args.json {
            plan.to_json().map(|json| json + "\n")
        } else {
            let gap = if index == 0 { "" } else { "\n" };
            Ok(format!("{gap}{}", plan.to_text()))
        };
        text.map_err(std::io::Error::from)
            .and_then(|text| out.write_all(text.as_bytes()))
            .map_err(Failed::stdout)?;
    }
    Ok(())
}
