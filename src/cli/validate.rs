//! `karat validate`

use std::io::{self, Write};

use clap::Args;

use super::{Invalid, TemplateArgs};
use crate::plan::{Ami, Base, Builder, Plan};
use crate::template;

/// Check templates without launching anything
///
/// Prints one line for each template that is right, and every error of those that are not. Reads the files that the
/// templates name, but no secret.
#[derive(Clone, Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    templates: TemplateArgs,
}

/// Checks every template, also after one was wrong.
///
/// # Errors
/// Everything that is wrong with any of them; or stdout cannot be written.
pub fn run(args: &ValidateArgs, out: &mut dyn Write) -> io::Result<Result<(), Invalid>> {
    let inputs = args.templates.inputs();
    let mut errors = Vec::new();
    for path in &args.templates.templates {
        match template::load(path, &inputs) {
            Ok(plan) => writeln!(out, "{}: {}", path.display(), summary(&plan))?,
            Err(error) => errors.push(error),
        }
    }
    Ok(if errors.is_empty() {
        Ok(())
    } else {
        Err(Invalid(errors))
    })
}

fn summary(plan: &Plan) -> String {
    let from = match (&plan.base, &plan.builder) {
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
        (Some(Base::Ami(Ami::Newest { filters, .. })), _) => {
            let names = filters.get("name").map(|it| it.join(" or "));
            format!(
                "ec2, {}",
                names.unwrap_or_else(|| "the newest AMI".to_owned())
            )
        }
        (None, Builder::Qemu(_)) => "qemu".to_owned(),
        (None, Builder::Ec2(_)) => "ec2".to_owned(),
    };
    let counts = [
        (plan.files.len(), "file"),
        (plan.steps.len(), "step"),
        (plan.tests.len(), "test"),
    ];
    let counts =
        counts.map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    format!(
        "ok, image `{}` ({from}), {}",
        plan.image.name,
        counts.join(", ")
    )
}
