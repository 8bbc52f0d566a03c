//! `karat plan`

use std::io::{self, Write};

use clap::Args;

use super::{Invalid, TemplateArgs};

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
}

/// Prints the plan of every template; nothing at all when one of them is wrong.
///
/// # Errors
/// Everything that is wrong with any of them; or stdout cannot be written.
pub fn run(args: &PlanArgs, out: &mut dyn Write) -> io::Result<Result<(), Invalid>> {
    let mut inputs = args.templates.inputs();
    inputs.force = args.force;
    let plans = match super::load_all(&args.templates.templates, &inputs) {
        Ok(plans) => plans,
        Err(invalid) => return Ok(Err(invalid)),
    };
    for (index, plan) in plans.iter().enumerate() {
        if args.json {
            writeln!(out, "{}", plan.to_json()?)?;
        } else {
            let gap = if index == 0 { "" } else { "\n" };
            write!(out, "{gap}{}", plan.to_text())?;
        }
    }
    Ok(Ok(()))
}
