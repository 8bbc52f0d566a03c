//! Which part of the bench carries out which call. What is not here is moto's.

use std::sync::Arc;

use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::{
    Inner, copies, ebs, image_attributes, images, instances, launch_templates, refreshes, register,
    run, snapshots, ssm, sts, tags, tokens,
};

/// Carries a call out; `fails` has fail later what it makes.
pub async fn perform(inner: &Arc<Inner>, call: &Call, fails: bool) -> Outcome {
    if call.service == "ec2" && call.form.is_true("DryRun") {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Refusal::status(412, "DryRunOperation", message));
    }
    if let Some(outcome) = tokens::before(inner, call) {
        return outcome;
    }
    let answer = match call.service.as_str() {
        "ebs" => ebs::perform(inner, call, fails),
        "ssm" => ssm::perform(inner, call).await,
        "ec2" => ec2(inner, call, fails).await,
        "sts" => sts::perform(inner, call).await,
        "autoscaling" => match refreshes::perform(inner, call, fails).await {
            Some(outcome) => outcome,
            None => Ok(inner.ask(call).await),
        },
        _ => Ok(inner.ask(call).await),
    }?;
    tokens::keep(inner, call, &answer);
    Ok(answer)
}

async fn ec2(inner: &Arc<Inner>, call: &Call, fails: bool) -> Outcome {
    match call.action.as_str() {
        "DescribeSnapshots" => snapshots::describe(inner, call),
        "CreateSnapshot" => snapshots::create(inner, call, fails).await,
        "DeleteSnapshot" => snapshots::delete(inner, call),
        "ModifySnapshotAttribute" => snapshots::modify_attribute(inner, call),
        "DescribeSnapshotAttribute" => snapshots::describe_attribute(inner, call),
        "DescribeImages" => images::describe(inner, call),
        "RegisterImage" => register::register(inner, call, fails),
        "CreateImage" => register::create(inner, call, fails),
        "DeregisterImage" => images::deregister(inner, call),
        "CopyImage" => copies::image(inner, call, fails),
        "CopySnapshot" => copies::snapshot(inner, call, fails),
        "ModifyImageAttribute" => image_attributes::modify(inner, call),
        "DescribeImageAttribute" => image_attributes::describe(inner, call),
        "ResetImageAttribute"
        | "EnableImageDeprecation"
        | "DisableImageDeprecation"
        | "EnableImageDeregistrationProtection"
        | "DisableImageDeregistrationProtection"
        | "DisableImage"
        | "EnableImage" => image_attributes::switch(inner, call),
        "CreateTags" | "DeleteTags" => tags::change(inner, call).await,
        "DescribeTags" => tags::describe(inner, call).await,
        "RunInstances" => run::run(inner, call, fails).await,
        "DescribeInstances" => instances::describe(inner, call).await,
        "DescribeInstanceStatus" => instances::describe_status(inner, call).await,
        "StartInstances" | "StopInstances" | "TerminateInstances" | "RebootInstances" => {
            instances::change(inner, call).await
        }
        "GetConsoleOutput" => instances::console(inner, call),
        "DescribeLaunchTemplateVersions" => launch_templates::describe(inner, call).await,
        "DeleteLaunchTemplateVersions" => launch_templates::delete_versions(inner, call).await,
        "DeleteSecurityGroup" => instances::delete_group(inner, call).await,
        _ => Ok(inner.ask(call).await),
    }
}
