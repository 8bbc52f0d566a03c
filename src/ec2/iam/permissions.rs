//! Permissions that karat needs at AWS, and no more: one table, from which all policies are written. AWS's "Service Authorization
//! Reference" lists the conditions that each call supports. Pure.

use super::{Statement, any, arns};
use crate::ec2::client::run_tags::{CONDEMNED, IMAGE, PUBLISHED};
use crate::plan::{Ami, Base, Ec2, Interface, Plan, PublishEc2};

use Condition::{
    Created, CreatedForSession, Creates, GrantForAws, HasAlias, HasProfile, InRegions, PassedToEc2,
    RequiresTokens, SetBy, TagKeys,
};
use Feature::{
    Build, Channels, ChannelsOrPrune, Deprecate, ExistingGroups, InstanceProfile, KmsAlias, KmsKey,
    NewGroup, OnDemandInstance, Protect, Prune, Publish, SealedGroup, SealedSession,
    SealedSessionGroup, Session, Share, ShareWithAccounts, SpotInstance, SshRule, Tests, Unprotect,
    Upload,
};
use Resource::{
    All, BaseAmi, GroupsOfTemplate, KeyOfTemplate, OwnSessions, Owned, Parameters, Roles, Shared,
    SshDocument, SubnetOfTemplate, VpcOfTemplate,
};

/// Use of AWS that needs a permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Feature {
    /// Builds on an instance.
    Build,
    SpotInstance,
    OnDemandInstance,
    InstanceProfile,
    /// Tests of the finished image.
    Tests,
    /// Security groups of the template.
    ExistingGroups,
    /// Security group that karat creates.
    NewGroup,
    /// Rule of that group for SSH.
    SshRule,
    /// That group must not allow outbound traffic.
    SealedGroup,
    /// The same, except to the endpoint of Systems Manager.
    SealedSessionGroup,
    /// SSH through Systems Manager.
    Session,
    SealedSession,
    /// AMIs made from snapshots.
    Publish,
    /// Snapshots written through the EBS direct APIs.
    Upload,
    Share,
    ShareWithAccounts,
    Deprecate,
    Protect,
    Unprotect,
    /// Encryption with a KMS key of the template.
    KmsKey,
    /// The same, with a key named by an alias.
    KmsAlias,
    /// `karat promote` and `karat rollback`.
    Channels,
    /// `karat prune --ec2`.
    Prune,
    ChannelsOrPrune,
}

/// Resource that a call works on.
#[derive(Clone, Copy, Debug)]
enum Resource {
    /// Any, for calls that cannot be restricted to resources.
    All,
    /// Resource of EC2 in an account.
    Owned(&'static str),
    /// Image or snapshot, whose ARN has no account.
    Shared(&'static str),
    BaseAmi,
    SubnetOfTemplate,
    VpcOfTemplate,
    GroupsOfTemplate,
    Roles,
    KeyOfTemplate,
    Parameters,
    SshDocument,
    /// Sessions that the caller has opened.
    OwnSessions,
}

/// Condition of a permission.
#[derive(Clone, Copy, Debug)]
enum Condition {
    /// The call is made in a region of the template.
    InRegions,
    /// The call creates a resource with karat's tags for this image.
    Creates,
    /// karat has created the resource for this image.
    Created,
    /// The same, as Systems Manager names it.
    CreatedForSession,
    /// Tags are set by a call that creates something.
    SetBy(&'static [&'static str]),
    /// Only these tags are set or removed.
    TagKeys(&'static [&'static str]),
    /// The instance answers metadata requests with a token only.
    RequiresTokens,
    HasProfile,
    PassedToEc2,
    HasAlias,
    /// EBS uses the key on the caller's behalf.
    GrantForAws,
}

const INSTANCES: Resource = Owned("instance/*");
const VOLUMES: Resource = Owned("volume/*");
const INTERFACES: Resource = Owned("network-interface/*");
const SPOT_REQUESTS: Resource = Owned("spot-instances-request/*");
const GROUPS: Resource = Owned("security-group/*");
const TEMPLATES: Resource = Owned("launch-template/*");
const IMAGES: Resource = Shared("image/*");
const SNAPSHOTS: Resource = Shared("snapshot/*");
/// Calls of a build that create something and tag it.
const CREATING: &[&str] = &["RunInstances", "CreateSecurityGroup", "CreateSnapshot"];

/// Feature, statement, calls, resources, conditions.
type Row = (
    Feature,
    &'static str,
    &'static str,
    &'static [Resource],
    &'static [Condition],
);

/// All permissions. Consecutive rows of the same statement add calls, resources and conditions to it.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Build, "FindWhatInstancesNeed", "ec2:DescribeImages ec2:DescribeSnapshots ec2:DescribeSubnets", &[All], &[InRegions]),
    (Build, "FindWhatInstancesNeed", "ec2:DescribeSecurityGroups ec2:DescribeInstances ec2:DescribeVolumes", &[All], &[]),
    (SealedSession, "FindWhatInstancesNeed", "ec2:DescribeVpcs", &[All], &[]),

    // A launch needs permission for each resource it uses, and each has conditions of its own.
    (Build, "LaunchInstances", "ec2:RunInstances", &[INSTANCES], &[Creates, RequiresTokens]),
    (InstanceProfile, "LaunchInstances", "ec2:RunInstances", &[INSTANCES], &[HasProfile]),
    (Build, "LaunchWithNewVolumes", "ec2:RunInstances", &[VOLUMES, INTERFACES], &[Creates]),
    (SpotInstance, "LaunchWithNewVolumes", "ec2:RunInstances", &[SPOT_REQUESTS], &[]),
    // The snapshots of an AMI belong to the owner of the AMI.
    (Build, "LaunchFromThese", "ec2:RunInstances", &[BaseAmi, SNAPSHOTS, SubnetOfTemplate], &[]),
    (NewGroup, "LaunchIntoSecurityGroups", "ec2:RunInstances", &[GROUPS], &[Created]),
    (ExistingGroups, "LaunchIntoSecurityGroups", "ec2:RunInstances", &[GroupsOfTemplate], &[]),
    (Build, "TagWhatIsNew", "ec2:CreateTags", &[INSTANCES, VOLUMES, INTERFACES], &[Creates, SetBy(CREATING)]),
    (SpotInstance, "TagWhatIsNew", "ec2:CreateTags", &[SPOT_REQUESTS], &[]),
    (Build, "TagWhatIsNew", "ec2:CreateTags", &[SNAPSHOTS], &[]),
    (NewGroup, "TagWhatIsNew", "ec2:CreateTags", &[GROUPS], &[]),
    (Tests, "LaunchWhatWasBuilt", "ec2:RunInstances", &[IMAGES], &[Created]),
    // The role of a profile is not known. `HasProfile` prevents other profiles.
    (InstanceProfile, "GiveInstancesTheirRole", "iam:PassRole", &[Roles], &[PassedToEc2]),

    (NewGroup, "MakeSecurityGroups", "ec2:CreateSecurityGroup", &[GROUPS], &[Creates]),
    (NewGroup, "MakeThemInVpcs", "ec2:CreateSecurityGroup", &[VpcOfTemplate], &[]),
    (NewGroup, "UseSecurityGroups", "ec2:DeleteSecurityGroup", &[GROUPS], &[Created]),
    (SshRule, "UseSecurityGroups", "ec2:AuthorizeSecurityGroupIngress", &[GROUPS], &[]),
    (SealedGroup, "UseSecurityGroups", "ec2:RevokeSecurityGroupEgress", &[GROUPS], &[]),
    (SealedSessionGroup, "UseSecurityGroups", "ec2:AuthorizeSecurityGroupEgress", &[GROUPS], &[]),
    // Restricted by the instance, which has to be karat's: it moves to the VPC's default group, which has no tag.
    (NewGroup, "LeaveSecurityGroups", "ec2:ModifyInstanceAttribute", &[GROUPS], &[]),

    (Build, "UseInstances", "ec2:TerminateInstances ec2:GetConsoleOutput", &[INSTANCES], &[Created]),
    (OnDemandInstance, "UseInstances", "ec2:StopInstances", &[INSTANCES], &[]),
    (NewGroup, "UseInstances", "ec2:ModifyInstanceAttribute", &[INSTANCES], &[]),
    (Build, "RemoveVolumes", "ec2:DeleteVolume", &[VOLUMES], &[Created]),
    (Build, "TakeSnapshots", "ec2:CreateSnapshot", &[SNAPSHOTS], &[Creates]),
    (Build, "TakeThemOfVolumes", "ec2:CreateSnapshot", &[VOLUMES], &[Created]),
    (Build, "ReadSnapshots", "ebs:ListSnapshotBlocks ebs:GetSnapshotBlock ec2:DeleteSnapshot", &[SNAPSHOTS], &[Created]),
    (Build, "NameSnapshots", "ec2:CreateTags", &[SNAPSHOTS], &[Creates, Created]),
    // The AWS command line, which carries SSH.
    (Session, "OpenSessions", "ssm:StartSession", &[INSTANCES], &[CreatedForSession]),
    (Session, "OpenThemForSsh", "ssm:StartSession", &[SshDocument], &[]),
    (Session, "EndSessions", "ssm:TerminateSession ssm:ResumeSession", &[OwnSessions], &[]),

    (Publish, "FindImagesAndSnapshots", "ec2:DescribeImages ec2:DescribeSnapshots", &[All], &[InRegions]),
    (Publish, "RegisterImages", "ec2:RegisterImage", &[IMAGES], &[Creates]),
    (Publish, "TagNewImages", "ec2:CreateTags", &[IMAGES], &[Creates, SetBy(&["RegisterImage"])]),
    // AWS documents no `ec2:CreateAction` for tags set by `StartSnapshot`, which is not a call of EC2.
    (Upload, "BeginSnapshots", "ebs:StartSnapshot ec2:CreateTags", &[SNAPSHOTS], &[Creates]),
    (Publish, "UseSnapshots", "ebs:ListSnapshotBlocks ebs:GetSnapshotBlock", &[SNAPSHOTS], &[Created]),
    (Publish, "UseSnapshots", "ec2:RegisterImage ec2:DeleteSnapshot", &[SNAPSHOTS], &[]),
    (Upload, "UseSnapshots", "ebs:PutSnapshotBlock ebs:CompleteSnapshot", &[SNAPSHOTS], &[]),
    (ShareWithAccounts, "UseSnapshots", "ec2:ModifySnapshotAttribute", &[SNAPSHOTS], &[]),
    (Publish, "UseImages", "ec2:DeregisterImage", &[IMAGES], &[Created]),
    (Share, "UseImages", "ec2:ModifyImageAttribute ec2:DescribeImageAttribute", &[IMAGES], &[]),
    (Deprecate, "UseImages", "ec2:EnableImageDeprecation", &[IMAGES], &[]),
    (Prune, "UseImages", "ec2:DisableImageDeprecation", &[IMAGES], &[]),
    (Protect, "UseImages", "ec2:EnableImageDeregistrationProtection", &[IMAGES], &[]),
    // For a protected AMI that is removed after all.
    (Unprotect, "UseImages", "ec2:DisableImageDeregistrationProtection", &[IMAGES], &[]),
    (Publish, "MarkImagesAndSnapshots", "ec2:CreateTags", &[IMAGES, SNAPSHOTS], &[Created, TagKeys(&[PUBLISHED])]),
    (Prune, "MarkImagesAndSnapshots", "ec2:CreateTags", &[IMAGES], &[TagKeys(&[PUBLISHED, CONDEMNED])]),

    // The account's own key for EBS needs no permission: its policy grants that.
    (KmsKey, "UseTheKey", "kms:DescribeKey kms:GenerateDataKeyWithoutPlaintext", &[KeyOfTemplate], &[]),
    (KmsKey, "UseTheKey", "kms:Decrypt kms:ReEncrypt*", &[KeyOfTemplate], &[]),
    (KmsAlias, "UseTheKey", "kms:Decrypt", &[KeyOfTemplate], &[HasAlias]),
    (KmsKey, "LetEbsUseTheKey", "kms:CreateGrant", &[KeyOfTemplate], &[GrantForAws]),
    (KmsAlias, "LetEbsUseTheKey", "kms:CreateGrant", &[KeyOfTemplate], &[HasAlias]),

    (Channels, "MoveParameters", "ssm:GetParameter ssm:PutParameter ssm:DeleteParameter", &[Parameters], &[]),
    (Prune, "FindWhoUsesImages", "ec2:DescribeInstances autoscaling:DescribeAutoScalingGroups", &[All], &[InRegions]),
    (Prune, "FindWhoUsesImages", "autoscaling:DescribeLaunchConfigurations", &[All], &[]),
    (Prune, "UnmarkImagesAndSnapshots", "ec2:DeleteTags", &[IMAGES, SNAPSHOTS], &[Created, TagKeys(&[CONDEMNED])]),
    (ChannelsOrPrune, "FindLaunchTemplates", "ec2:DescribeLaunchTemplates", &[All], &[InRegions]),
    (ChannelsOrPrune, "FindLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", &[All], &[]),
    // Launch templates have no name in their ARN, and those that karat did not create have no tag of karat's.
    (ChannelsOrPrune, "ChangeLaunchTemplates", "ec2:DeleteLaunchTemplateVersions", &[TEMPLATES], &[]),
    (Channels, "ChangeLaunchTemplates", "ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate", &[TEMPLATES], &[]),
];

/// Permissions to include besides those for registering AMIs from snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishOptions {
    /// Upload snapshots, rather than only take them from instances.
    pub uploads: bool,
    /// Move the targets of channels.
    pub channels: bool,
    /// Parameters that channels move; empty allows any.
    pub parameters: Vec<String>,
    /// Remove AMIs that are no longer needed.
    pub prune: bool,
}

/// Returns the permissions to build an image in one of these regions, up to its snapshot; in any region if none are named.
pub fn for_build(plan: &Plan, ec2: &Ec2, regions: &[String]) -> Vec<Statement> {
    let request = Request {
        image: &plan.image.name,
        regions,
        kms_key: ec2.kms_key.as_deref(),
        purpose: Purpose::Build(plan, ec2),
    };
    request.statements()
}

/// Returns the permissions to publish an image of this name.
pub fn for_publication(
    image: &str,
    settings: &PublishEc2,
    options: &PublishOptions,
) -> Vec<Statement> {
    let request = Request {
        image,
        regions: &settings.regions,
        kms_key: settings.kms_key.as_deref(),
        purpose: Purpose::Publication(settings, options),
    };
    request.statements()
}

/// Image and settings that permissions are for.
struct Request<'a> {
    image: &'a str,
    regions: &'a [String],
    kms_key: Option<&'a str>,
    purpose: Purpose<'a>,
}

#[derive(Clone, Copy)]
enum Purpose<'a> {
    Build(&'a Plan, &'a Ec2),
    Publication(&'a PublishEc2, &'a PublishOptions),
}

impl Request<'_> {
    fn statements(&self) -> Vec<Statement> {
        let mut statements: Vec<Statement> = Vec::new();
        for (feature, sid, actions, resources, conditions) in TABLE {
            if !self.needs(*feature) {
                continue;
            }
            let mut statement = statements
                .pop_if(|last| last.sid == *sid)
                .unwrap_or_else(|| Statement::allow(sid, &[], Vec::new()));
            statement.add_actions(actions.split_whitespace());
            statement.add_resources(resources.iter().flat_map(|of| self.arns(*of)));
            for condition in *conditions {
                statement = self.with(statement, *condition);
            }
            statements.push(statement);
        }
        statements
    }

    fn needs(&self, feature: Feature) -> bool {
        match feature {
            KmsKey => return self.kms_key.is_some(),
            KmsAlias => return self.kms_key.is_some_and(|key| key.starts_with("alias/")),
            _ => {}
        }
        match self.purpose {
            Purpose::Build(plan, ec2) => build_needs(feature, plan, ec2),
            Purpose::Publication(settings, options) => {
                publication_needs(feature, settings, options)
            }
        }
    }

    fn build(&self) -> Option<(&Plan, &Ec2)> {
        match self.purpose {
            Purpose::Build(plan, ec2) => Some((plan, ec2)),
            Purpose::Publication(..) => None,
        }
    }

    fn arns(&self, resource: Resource) -> Vec<String> {
        let owned = |resource: &str| arns("ec2", self.regions, "*", resource);
        let ec2 = self.build().map(|(_, ec2)| ec2);
        match resource {
            All => any(),
            Owned(resource) => owned(resource),
            Shared(resource) => arns("ec2", self.regions, "", resource),
            BaseAmi => {
                let image = match self.build().and_then(|(plan, _)| plan.base.as_ref()) {
                    Some(Base::Ami(Ami::Id(id))) => id,
                    _ => "*",
                };
                arns("ec2", self.regions, "", &format!("image/{image}"))
            }
            SubnetOfTemplate => {
                let subnet = ec2.and_then(|ec2| ec2.subnet.as_deref()).unwrap_or("*");
                owned(&format!("subnet/{subnet}"))
            }
            VpcOfTemplate => {
                let vpc = ec2.and_then(|ec2| ec2.vpc.as_deref()).unwrap_or("*");
                owned(&format!("vpc/{vpc}"))
            }
            GroupsOfTemplate => {
                let groups = ec2.into_iter().flat_map(|ec2| &ec2.security_groups);
                groups
                    .flat_map(|id| owned(&format!("security-group/{id}")))
                    .collect()
            }
            Roles => without_region(arns("iam", self.regions, "*", "role/*")),
            KeyOfTemplate => self.key(),
            Parameters => self.parameters(),
            SshDocument => arns("ssm", self.regions, "", "document/AWS-StartSSHSession"),
            OwnSessions => arns("ssm", self.regions, "*", "session/${aws:userid}-*"),
        }
    }

    fn key(&self) -> Vec<String> {
        let keys = |resource: &str| arns("kms", self.regions, "*", resource);
        match self.kms_key.unwrap_or_default() {
            arn if arn.starts_with("arn:") => vec![arn.to_owned()],
            // Permissions are granted for keys; an alias is a property of a key.
            alias if alias.starts_with("alias/") => keys("key/*"),
            id => keys(&format!("key/{id}")),
        }
    }

    fn parameters(&self) -> Vec<String> {
        let parameter = |name: &str| {
            let name = name.trim_start_matches('/');
            arns("ssm", self.regions, "*", &format!("parameter/{name}"))
        };
        match self.purpose {
            Purpose::Publication(_, options) if !options.parameters.is_empty() => {
                let names = options.parameters.iter();
                names.flat_map(|name| parameter(name)).collect()
            }
            _ => parameter("*"),
        }
    }

    fn with(&self, statement: Statement, condition: Condition) -> Statement {
        let equals = "StringEquals";
        match condition {
            InRegions => statement.within(self.regions),
            Creates => statement.making(self.image),
            Created => statement.made_for(self.image),
            CreatedForSession => {
                statement.when(equals, format!("ssm:resourceTag/{IMAGE}"), [self.image])
            }
            SetBy(calls) => statement.when(equals, "ec2:CreateAction", calls.iter().copied()),
            // Without the second condition, a request without any tag would be allowed.
            TagKeys(keys) => statement
                .when(
                    "ForAllValues:StringEquals",
                    "aws:TagKeys",
                    keys.iter().copied(),
                )
                .when("Null", "aws:TagKeys", ["false"]),
            RequiresTokens => statement.when(equals, "ec2:MetadataHttpTokens", ["required"]),
            HasProfile => statement.when("ArnLike", "ec2:InstanceProfile", self.profile()),
            PassedToEc2 => {
                let is_chinese = self.regions.iter().any(|name| name.starts_with("cn-"));
                let service =
                    ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"][usize::from(is_chinese)];
                statement.when(equals, "iam:PassedToService", [service])
            }
            HasAlias => statement.when(
                "ForAnyValue:StringEquals",
                "kms:ResourceAliases",
                self.kms_key,
            ),
            GrantForAws => statement.when("Bool", "kms:GrantIsForAWSResource", ["true"]),
        }
    }

    fn profile(&self) -> Vec<String> {
        let profile = self
            .build()
            .and_then(|(_, ec2)| ec2.instance_profile.as_deref());
        without_region(match profile.unwrap_or("*") {
            arn if arn.starts_with("arn:") => vec![arn.to_owned()],
            name => arns(
                "iam",
                self.regions,
                "*",
                &format!("instance-profile/{name}"),
            ),
        })
    }
}

fn build_needs(feature: Feature, plan: &Plan, ec2: &Ec2) -> bool {
    let is_session = plan.ssh.interface == Some(Interface::Ssm);
    let is_sealed = !plan.network.open;
    let has_new_group = ec2.security_groups.is_empty();
    match feature {
        Build => true,
        SpotInstance => ec2.spot,
        OnDemandInstance => !ec2.spot,
        InstanceProfile => ec2.instance_profile.is_some(),
        Tests => !plan.tests.is_empty(),
        ExistingGroups => !has_new_group,
        NewGroup => has_new_group,
        SshRule => has_new_group && (!is_session || ec2.ingress.is_some()),
        SealedGroup => has_new_group && is_sealed,
        SealedSessionGroup => has_new_group && is_sealed && is_session,
        Session => is_session,
        SealedSession => is_session && is_sealed,
        _ => false,
    }
}

fn publication_needs(feature: Feature, settings: &PublishEc2, options: &PublishOptions) -> bool {
    let is_shared_with_accounts = !settings.accounts.is_empty();
    match feature {
        Publish => true,
        Upload => options.uploads,
        Share => is_shared_with_accounts || !settings.organizations.is_empty(),
        ShareWithAccounts => is_shared_with_accounts,
        Deprecate => settings.deprecate_after.is_some() || options.prune,
        Protect => settings.protect,
        Unprotect => settings.protect || options.prune,
        Channels => options.channels,
        Prune => options.prune,
        ChannelsOrPrune => options.channels || options.prune,
        _ => false,
    }
}

/// Removes the region of ARNs: resources of IAM belong to all regions.
fn without_region(arns: Vec<String>) -> Vec<String> {
    let mut without: Vec<String> = arns
        .into_iter()
        .map(|arn| {
            let mut parts: Vec<&str> = arn.splitn(6, ':').collect();
            if let Some(region) = parts.get_mut(3) {
                *region = "";
            }
            parts.join(":")
        })
        .collect();
    without.dedup();
    without
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

    fn uploads() -> PublishOptions {
        PublishOptions {
            uploads: true,
            ..PublishOptions::default()
        }
    }

    fn actions(settings: &PublishEc2, also: &PublishOptions) -> Vec<&'static str> {
        let statements = for_publication("web", settings, also);
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

    /// Calls that are allowed besides [`PLAIN`].
    fn more(settings: &PublishEc2, also: &PublishOptions) -> Vec<&'static str> {
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
                PublishOptions {
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
                PublishOptions {
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
        for statement in for_publication("web", &settings(), &uploads()) {
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
            let settings = PublishEc2 {
                regions: vec!["us-east-1".to_owned()],
                kms_key: Some(key.to_owned()),
                ..PublishEc2::default()
            };
            let mut statements = for_publication("web", &settings, &uploads());
            statements.retain(|statement| statement.sid == "UseTheKey");
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
