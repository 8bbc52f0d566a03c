//! `karat iam-policy`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::publish::region;
use super::{Failed, Invalid, VariableArgs};
use crate::ec2::iam::Policy;
use crate::ec2::iam::machine as builder;
use crate::ec2::iam::publish::{self, Also};
use crate::plan::{Builder, Plan, PublishEc2};
use crate::template;

/// Print the least IAM policy that a template needs
///
/// JSON for `aws iam create-policy --policy-document`. It allows the calls that karat makes for this template, and changes only
/// of what karat has made for an image of this name, which it knows by its tags. Nobody is asked, and nothing is changed.
/// A managed policy has room for 6,144 characters besides white space; a longer one goes into the role itself, which has room
/// for 10,240: `aws iam put-role-policy --policy-document`.
#[derive(Clone, Debug, Args)]
pub struct IamPolicyArgs {
    /// The template
    #[arg(value_name = "TEMPLATE")]
    pub template: PathBuf,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub variables: VariableArgs,

    /// Allow publishing in this region, instead of those of the template; may be given several times
    ///
    /// With neither, every region is allowed.
    #[arg(long = "region", value_name = "REGION", value_parser = region)]
    pub regions: Vec<String>,

    /// Allow `promote` and `rollback` to move parameters and launch templates, too
    #[arg(long)]
    pub channels: bool,

    /// Of parameters, only this one may be moved; may be given several times
    #[arg(long = "parameter", value_name = "NAME", requires = "channels")]
    pub parameters: Vec<String>,

    /// Allow `prune --ec2` to deprecate AMIs and remove those that nothing uses, too
    #[arg(long)]
    pub prune: bool,
}

/// A template that needs nothing of AWS.
#[derive(Debug, Error, Diagnostic)]
#[error("{} does nothing at AWS", .0.display())]
#[diagnostic(help("add [builder.ec2] or [publish.ec2] to it, or name a `--region`"))]
pub struct NothingError(PathBuf);

/// Prints the policy.
///
/// # Errors
/// The template is wrong, or does nothing at AWS.
pub fn run(args: &IamPolicyArgs, out: &mut dyn Write) -> Result<(), Failed> {
    let mut inputs = args.variables.inputs();
    // An image that is there already is no obstacle.
    inputs.force = true;
    let plan = template::load(&args.template, &inputs);
    let plan = plan.map_err(|error| Invalid(vec![error]))?;
    let policy = policy_of(args, &plan);
    let policy = policy.map_err(|error| Failed::with(2, error))?;
    serde_json::to_writer_pretty(&mut *out, &policy)
        .map_err(std::io::Error::from)
        .and_then(|()| writeln!(out))
        .map_err(Failed::stdout)
}

/// What each table of the template needs, one after the other.
fn policy_of(args: &IamPolicyArgs, plan: &Plan) -> Result<Policy, NothingError> {
    let mut statements = Vec::new();
    let named = (!args.regions.is_empty()).then(PublishEc2::default);
    let mut published = plan.publish.clone().or(named);
    if let Some(settings) = &mut published
        && !args.regions.is_empty()
    {
        settings.regions.clone_from(&args.regions);
    }
    let mut also = Also {
        uploads: true,
        channels: args.channels,
        parameters: args.parameters.clone(),
        prune: args.prune,
    };
    if let Builder::Ec2(ec2) = &plan.builder {
        let home: Vec<String> = match &ec2.region {
            Some(region) => vec![region.clone()],
            None => args.regions.clone(),
        };
        statements.extend(builder::statements(plan, ec2, &home));
        // What is built there becomes an AMI there, and is uploaded to the other regions that the template names.
        let settings = published.get_or_insert_default();
        also.uploads = settings.regions.iter().any(|it| !home.contains(it));
        if home.is_empty() {
            settings.regions.clear();
        }
        let regions = &mut settings.regions;
        regions.retain(|it| !home.contains(it));
        regions.extend(home);
    }
    if let Some(settings) = published {
        statements.extend(publish::statements(&plan.image.name, &settings, &also));
    }
    if statements.is_empty() {
        return Err(NothingError(args.template.clone()));
    }
    Ok(Policy::new(statements))
}
