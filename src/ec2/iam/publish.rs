//! What IAM has to allow for a publication, and no more: the calls that this module makes, with what karat has made for this image.
//! Which conditions a call knows is in AWS's "Service Authorization Reference". Pure.

use crate::ec2::client::run_tags::{CONDEMNED, PUBLISHED};
use crate::ec2::iam::{Statement, any, arns};
use crate::plan::PublishEc2;

/// What else is to be allowed, besides registering AMIs of snapshots, and what goes with that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Also {
    /// Snapshots are written, and not only taken of instances.
    pub uploads: bool,
    /// Channels move what others launch by.
    pub channels: bool,
    /// The parameters that they move; empty: any.
    pub parameters: Vec<String>,
    /// AMIs are removed that nobody needs, when nothing uses them.
    pub prune: bool,
}

/// What has to be allowed to publish an image of this name.
#[must_use]
pub fn statements(image: &str, settings: &PublishEc2, also: &Also) -> Vec<Statement> {
    let mut all = making(image, settings, also);
    all.extend(kept(image, settings, also));
    all.extend(key(&settings.regions, settings.kms_key.as_deref()));
    if also.channels {
        all.extend(channels(settings, &also.parameters));
    }
    if also.prune {
        all.extend(prune(image, settings));
    }
    if also.channels || also.prune {
        all.push(find_launch_templates(settings));
        all.push(change_launch_templates(settings, also));
    }
    all
}

fn snapshots(settings: &PublishEc2) -> Vec<String> {
    arns("ec2", &settings.regions, "", "snapshot/*")
}

fn images(settings: &PublishEc2) -> Vec<String> {
    arns("ec2", &settings.regions, "", "image/*")
}

fn both(settings: &PublishEc2) -> Vec<String> {
    let mut both = images(settings);
    both.extend(snapshots(settings));
    both
}

/// Beginning snapshots, registering AMIs, and looking for both.
fn making(image: &str, settings: &PublishEc2, also: &Also) -> Vec<Statement> {
    let allow = Statement::allow;
    let find = ["ec2:DescribeImages", "ec2:DescribeSnapshots"];
    // AWS documents no `ec2:CreateAction` for what is tagged by `StartSnapshot`, which is none of EC2's own calls.
    let begin = ["ebs:StartSnapshot", "ec2:CreateTags"];
    let mut all = vec![
        allow("FindImagesAndSnapshots", &find, any()).within(&settings.regions),
        allow("RegisterImages", &["ec2:RegisterImage"], images(settings)).making(image),
        allow("TagNewImages", &["ec2:CreateTags"], images(settings))
            .making(image)
            .when("StringEquals", "ec2:CreateAction", ["RegisterImage"]),
    ];
    if also.uploads {
        all.push(allow("BeginSnapshots", &begin, snapshots(settings)).making(image));
    }
    all
}

/// What is done with those that karat has made, until they are removed.
fn kept(image: &str, settings: &PublishEc2, also: &Also) -> Vec<Statement> {
    let mut of_snapshots = vec![
        "ebs:ListSnapshotBlocks",
        "ebs:GetSnapshotBlock",
        "ec2:RegisterImage",
        "ec2:DeleteSnapshot",
    ];
    let mut of_images = vec!["ec2:DeregisterImage"];
    if also.uploads {
        of_snapshots.extend(["ebs:PutSnapshotBlock", "ebs:CompleteSnapshot"]);
    }
    if is_shared(settings) {
        of_images.extend(["ec2:ModifyImageAttribute", "ec2:DescribeImageAttribute"]);
    }
    if !settings.accounts.is_empty() {
        of_snapshots.push("ec2:ModifySnapshotAttribute");
    }
    if settings.deprecate_after.is_some() || also.prune {
        of_images.push("ec2:EnableImageDeprecation");
    }
    if also.prune {
        of_images.push("ec2:DisableImageDeprecation");
    }
    if settings.protect {
        of_images.push("ec2:EnableImageDeregistrationProtection");
    }
    if settings.protect || also.prune {
        // One that was protected, and is not wanted after all.
        of_images.push("ec2:DisableImageDeregistrationProtection");
    }
    let mut marks = vec![PUBLISHED];
    if also.prune {
        marks.push(CONDEMNED);
    }
    let allow = |sid, actions: &[&'static str], resources| {
        Statement::allow(sid, actions, resources).made_for(image)
    };
    vec![
        allow("UseSnapshots", &of_snapshots, snapshots(settings)),
        allow("UseImages", &of_images, images(settings)),
        allow(
            "MarkImagesAndSnapshots",
            &["ec2:CreateTags"],
            both(settings),
        )
        // Without the second one, a request without any tag would do.
        .when("ForAllValues:StringEquals", "aws:TagKeys", marks)
        .when("Null", "aws:TagKeys", ["false"]),
    ]
}

fn is_shared(settings: &PublishEc2) -> bool {
    !settings.accounts.is_empty() || !settings.organizations.is_empty()
}

/// The key that volumes and snapshots are encrypted with. The account's own one for EBS needs no permission: its policy has it.
#[must_use]
pub fn key(regions: &[String], key: Option<&str>) -> Vec<Statement> {
    let Some(key) = key else {
        return Vec::new();
    };
    let use_it = [
        "kms:DescribeKey",
        "kms:GenerateDataKeyWithoutPlaintext",
        "kms:Decrypt",
        "kms:ReEncrypt*",
    ];
    let of = |resource: &str| arns("kms", regions, "*", resource);
    let is_alias = key.starts_with("alias/");
    let keys = match key {
        arn if arn.starts_with("arn:") => vec![arn.to_owned()],
        // Permissions are for keys; an alias is a property of one.
        _ if is_alias => of("key/*"),
        id => of(&format!("key/{id}")),
    };
    let allow = |sid, actions: &[&'static str]| {
        let statement = Statement::allow(sid, actions, keys.clone());
        if is_alias {
            return statement.when("ForAnyValue:StringEquals", "kms:ResourceAliases", [key]);
        }
        statement
    };
    vec![
        allow("UseTheKey", &use_it),
        allow("LetEbsUseTheKey", &["kms:CreateGrant"]).when(
            "Bool",
            "kms:GrantIsForAWSResource",
            ["true"],
        ),
    ]
}

/// What `karat promote` and `karat rollback` move, besides launch templates.
fn channels(settings: &PublishEc2, parameters: &[String]) -> Vec<Statement> {
    let parameter = |name: &str| {
        let name = name.trim_start_matches('/');
        arns("ssm", &settings.regions, "*", &format!("parameter/{name}"))
    };
    let move_it = [
        "ssm:GetParameter",
        "ssm:PutParameter",
        "ssm:DeleteParameter",
    ];
    let parameters = if parameters.is_empty() {
        parameter("*")
    } else {
        parameters.iter().flat_map(|it| parameter(it)).collect()
    };
    vec![Statement::allow("MoveParameters", &move_it, parameters)]
}

/// What `karat prune --ec2` looks at and takes back, besides what removes AMIs.
fn prune(image: &str, settings: &PublishEc2) -> Vec<Statement> {
    let find = [
        "ec2:DescribeInstances",
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLaunchConfigurations",
    ];
    vec![
        Statement::allow("FindWhoUsesImages", &find, any()).within(&settings.regions),
        Statement::allow(
            "UnmarkImagesAndSnapshots",
            &["ec2:DeleteTags"],
            both(settings),
        )
        .made_for(image)
        .when("ForAllValues:StringEquals", "aws:TagKeys", [CONDEMNED])
        .when("Null", "aws:TagKeys", ["false"]),
    ]
}

/// Which AMIs launch templates launch. They have no name in their ARN, and those that are not karat's no tag of karat's.
fn change_launch_templates(settings: &PublishEc2, also: &Also) -> Statement {
    let mut change = vec!["ec2:DeleteLaunchTemplateVersions"];
    if also.channels {
        change.extend([
            "ec2:CreateLaunchTemplateVersion",
            "ec2:ModifyLaunchTemplate",
        ]);
    }
    let templates = arns("ec2", &settings.regions, "*", "launch-template/*");
    Statement::allow("ChangeLaunchTemplates", &change, templates)
}

fn find_launch_templates(settings: &PublishEc2) -> Statement {
    let find = [
        "ec2:DescribeLaunchTemplates",
        "ec2:DescribeLaunchTemplateVersions",
    ];
    Statement::allow("FindLaunchTemplates", &find, any()).within(&settings.regions)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ec2::iam::Policy;

    fn settings() -> PublishEc2 {
        PublishEc2 {
            regions: vec!["eu-central-1".to_owned(), "us-east-1".to_owned()],
            ..PublishEc2::default()
        }
    }

    fn uploads() -> Also {
        Also {
            uploads: true,
            ..Also::default()
        }
    }

    fn actions(settings: &PublishEc2, also: &Also) -> Vec<&'static str> {
        let statements = statements("web", settings, also);
        let actions = statements.iter().flat_map(Statement::actions);
        let mut actions: Vec<_> = actions.copied().collect();
        actions.sort_unstable();
        actions.dedup();
        actions
    }

    const PLAIN: [&str; 11] = [
        "ebs:CompleteSnapshot",
        "ebs:GetSnapshotBlock",
        "ebs:ListSnapshotBlocks",
        "ebs:PutSnapshotBlock",
        "ebs:StartSnapshot",
        "ec2:CreateTags",
        "ec2:DeleteSnapshot",
        "ec2:DeregisterImage",
        "ec2:DescribeImages",
        "ec2:DescribeSnapshots",
        "ec2:RegisterImage",
    ];

    /// What is allowed besides that.
    fn more(settings: &PublishEc2, also: &Also) -> Vec<&'static str> {
        let mut found = actions(settings, also);
        found.retain(|action| !PLAIN.contains(action));
        found
    }

    #[test]
    fn only_what_the_template_says_is_allowed() {
        let also = uploads();
        assert_eq!(actions(&settings(), &also), PLAIN);
        let shared = |accounts: &[&str], organizations: &[&str]| PublishEc2 {
            accounts: accounts.iter().map(ToString::to_string).collect(),
            organizations: organizations.iter().map(ToString::to_string).collect(),
            ..settings()
        };
        let image = ["ec2:DescribeImageAttribute", "ec2:ModifyImageAttribute"];
        for (settings, expected) in [
            (
                shared(&["123456789012"], &[]),
                [&image[..], &["ec2:ModifySnapshotAttribute"]].concat(),
            ),
            (shared(&[], &["arn:..."]), image.to_vec()),
            (
                PublishEc2 {
                    deprecate_after: Some(Duration::from_hours(1)),
                    ..settings()
                },
                vec!["ec2:EnableImageDeprecation"],
            ),
            (
                PublishEc2 {
                    protect: true,
                    ..settings()
                },
                vec![
                    "ec2:DisableImageDeregistrationProtection",
                    "ec2:EnableImageDeregistrationProtection",
                ],
            ),
            (
                PublishEc2 {
                    kms_key: Some("alias/disks".to_owned()),
                    ..settings()
                },
                vec![
                    "kms:CreateGrant",
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:GenerateDataKeyWithoutPlaintext",
                    "kms:ReEncrypt*",
                ],
            ),
        ] {
            assert_eq!(more(&settings, &also), expected, "{settings:?}");
        }
    }

    #[test]
    fn more_is_allowed_when_it_is_asked_for() {
        let none = uploads();
        for (also, expected) in [
            (
                Also {
                    prune: true,
                    ..none.clone()
                },
                vec![
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeLaunchConfigurations",
                    "ec2:DeleteLaunchTemplateVersions",
                    "ec2:DeleteTags",
                    "ec2:DescribeInstances",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DisableImageDeprecation",
                    "ec2:DisableImageDeregistrationProtection",
                    "ec2:EnableImageDeprecation",
                ],
            ),
            (
                Also {
                    channels: true,
                    ..none
                },
                vec![
                    "ec2:CreateLaunchTemplateVersion",
                    "ec2:DeleteLaunchTemplateVersions",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:ModifyLaunchTemplate",
                    "ssm:DeleteParameter",
                    "ssm:GetParameter",
                    "ssm:PutParameter",
                ],
            ),
        ] {
            assert_eq!(more(&settings(), &also), expected, "{also:?}");
        }
    }

    #[test]
    fn whatever_is_changed_is_karat_s_own() {
        for statement in statements("web", &settings(), &uploads()) {
            let text = serde_json::to_string(&statement).unwrap();
            let is_search = statement
                .actions()
                .iter()
                .all(|it| it.contains(":Describe"));
            let is_limited = text.contains("Tag/karat:image\":\"web\"");
            assert!(is_limited || is_search, "{text}");
            assert_eq!(text.contains("\"*\""), is_search, "{text}");
        }
    }

    #[test]
    fn keys_are_named_by_what_is_known_of_them() {
        let resources = |key: &str| {
            let statements = super::key(&["us-east-1".to_owned()], Some(key));
            let policy = serde_json::to_value(Policy::new(statements)).unwrap();
            let first = &policy["Statement"][0];
            let resource = first["Resource"][0].as_str().unwrap().to_owned();
            (resource, first["Condition"].is_object())
        };
        let arn = "arn:aws:kms:us-east-1:123456789012:key/12-34";
        for (key, resource, is_conditional) in [
            ("alias/disks", "arn:aws:kms:us-east-1:*:key/*", true),
            ("12-34", "arn:aws:kms:us-east-1:*:key/12-34", false),
            (arn, arn, false),
        ] {
            assert_eq!(resources(key), (resource.to_owned(), is_conditional));
        }
    }
}
