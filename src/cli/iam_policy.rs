//! `karat iam-policy`

use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::publish::region;
use super::shared::stdout::Stdout;
use super::{CommandError, ExistingOutput, ExitStatus, VariableArgs};
use crate::ec2::iam::{Policy, PublishOptions, for_build, for_publication};
use crate::plan::{self, Builder, Plan, PublishEc2};

/// Print a least-privilege IAM policy for a template
///
/// Prints JSON for `aws iam create-policy --policy-document`. The policy allows the API calls that karat makes for this
/// template, and changes only to resources that carry karat's tags for this image name. Makes no call to AWS. A managed
/// policy is limited to 6,144 characters without white space; put a longer one into the role itself, with a limit of 10,240:
/// `aws iam put-role-policy --policy-document`.
#[derive(Clone, Debug, Args)]
pub(crate) struct IamPolicyArgs {
    /// Template to print the policy for
    #[arg(value_name = "TEMPLATE")]
    template: PathBuf,

    #[command(flatten)]
    variables: VariableArgs,

    /// Allow publishing in this region instead of the template's; may be repeated
    ///
    /// Without this and without regions in the template, the policy allows all regions.
    #[arg(long = "region", value_name = "REGION", value_parser = region)]
    regions: Vec<String>,

    /// PublishOptions allow `promote` and `rollback` to update SSM parameters and launch templates
    #[arg(long)]
    channels: bool,

    /// Allow updates of this SSM parameter only; may be repeated
    #[arg(long = "parameter", value_name = "NAME", requires = "channels")]
    parameters: Vec<String>,

    /// PublishOptions allow `prune --ec2` to deprecate AMIs and to remove unused ones
    #[arg(long)]
    prune: bool,
}

/// The template uses no AWS service.
#[derive(Debug, Error, Diagnostic)]
#[error("{} does not use AWS", .0.display())]
#[diagnostic(help("add [builder.ec2] or [publish.ec2] to the template, or name a `--region`"))]
struct NoAwsError(PathBuf);

impl ExitStatus for NoAwsError {
    fn exit_code(&self) -> u8 {
        2
    }
}

pub(crate) fn run(args: &IamPolicyArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let inputs = args.variables.inputs(ExistingOutput::Accept);
    let plan = plan::load(&args.template, &inputs)?;
    out.json(&policy_of(args, &plan)?)
}

/// Collects the statements that each table of the template needs.
fn policy_of(args: &IamPolicyArgs, plan: &Plan) -> Result<Policy, NoAwsError> {
    let mut statements = Vec::new();
    let named = (!args.regions.is_empty()).then(PublishEc2::default);
    let mut published = plan.publish.clone().or(named);
    if let Some(settings) = &mut published
        && !args.regions.is_empty()
    {
        settings.regions.clone_from(&args.regions);
    }
    let mut options = PublishOptions {
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
        statements.extend(for_build(plan, ec2, &home));
        // An image that is built on EC2 becomes an AMI in its own region, and is uploaded to the others.
        let settings = published.get_or_insert_default();
        options.uploads = settings.regions.iter().any(|region| !home.contains(region));
        if home.is_empty() {
            settings.regions.clear();
        }
        let regions = &mut settings.regions;
        regions.retain(|region| !home.contains(region));
        regions.extend(home);
    }
    if let Some(settings) = published {
        statements.extend(for_publication(&plan.image.name, &settings, &options));
    }
    if statements.is_empty() {
        return Err(NoAwsError(args.template.clone()));
    }
    Ok(Policy::new(statements))
}
