//! What IAM has to allow for a build on EC2, and no more: launching an instance as karat does, and doing away with what karat has
//! made for this image. Which conditions a call knows is in AWS's "Service Authorization Reference". Pure.

use crate::ec2::client::run_tags::IMAGE;
use crate::ec2::iam::publish::key;
use crate::ec2::iam::{Statement, any, arns};
use crate::plan::{Ami, Base, Ec2, Interface, Plan};

/// The calls that make something, and tag it.
const MAKING: [&str; 3] = ["RunInstances", "CreateSecurityGroup", "CreateSnapshot"];

/// A build, and where its resources are.
struct Build<'a> {
    plan: &'a Plan,
    ec2: &'a Ec2,
    regions: &'a [String],
    interface: Interface,
}

/// What has to be allowed to build an image in one of these regions, until it is in a snapshot; in any, when none are named.
#[must_use]
pub fn statements(plan: &Plan, ec2: &Ec2, regions: &[String]) -> Vec<Statement> {
    let build = Build {
        plan,
        ec2,
        regions,
        interface: plan.ssh.interface.unwrap_or(Interface::PublicIp),
    };
    let mut all = vec![build.find()];
    all.extend(build.launch());
    all.extend(build.profile());
    all.extend(build.groups());
    all.extend(build.instances());
    all.extend(build.snapshots());
    all.extend(build.sessions());
    all.extend(key(build.regions, ec2.kms_key.as_deref()));
    all
}

impl Build<'_> {
    fn image(&self) -> &str {
        &self.plan.image.name
    }

    /// Resources of an account.
    fn of(&self, resource: &str) -> Vec<String> {
        arns("ec2", self.regions, "*", resource)
    }

    /// Images and snapshots, which have no account in their ARN.
    fn of_nobody(&self, resource: &str) -> Vec<String> {
        arns("ec2", self.regions, "", resource)
    }

    /// Nothing is let out of the security group; see `setup`.
    fn is_sealed(&self) -> bool {
        !self.plan.network.open
    }

    fn makes_group(&self) -> bool {
        self.ec2.security_groups.is_empty()
    }

    fn find(&self) -> Statement {
        let mut find = vec![
            "ec2:DescribeImages",
            "ec2:DescribeSnapshots",
            "ec2:DescribeSubnets",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeInstances",
            "ec2:DescribeVolumes",
        ];
        if self.interface == Interface::Ssm && self.is_sealed() {
            find.push("ec2:DescribeVpcs");
        }
        Statement::allow("FindWhatInstancesNeed", &find, any()).within(self.regions)
    }

    /// Each resource of a launch is looked at for itself, and has conditions of its own.
    fn launch(&self) -> Vec<Statement> {
        let run = |sid, resources| Statement::allow(sid, &["ec2:RunInstances"], resources);
        let mut new = [self.of("volume/*"), self.of("network-interface/*")].concat();
        if self.ec2.spot {
            new.extend(self.of("spot-instances-request/*"));
        }
        let mut instances = run("LaunchInstances", self.of("instance/*"))
            .making(self.image())
            .when("StringEquals", "ec2:MetadataHttpTokens", ["required"]);
        if let Some(profile) = &self.ec2.instance_profile {
            let arn = if profile.starts_with("arn:") {
                vec![profile.clone()]
            } else {
                let name = format!("instance-profile/{profile}");
                arns("iam", self.regions, "*", &name)
            };
            instances = instances.when("ArnLike", "ec2:InstanceProfile", without_region(arn));
        }
        let mut tagged = vec![
            self.of("instance/*"),
            new.clone(),
            self.of_nobody("snapshot/*"),
        ];
        if self.makes_group() {
            tagged.push(self.of("security-group/*"));
        }
        let tried = (!self.plan.tests.is_empty())
            .then(|| run("LaunchWhatWasBuilt", self.of_nobody("image/*")).made_for(self.image()));
        let mut all = vec![
            instances,
            run("LaunchWithNewVolumes", new).making(self.image()),
            run("LaunchFromThese", self.launched_from()),
            self.launched_into(),
            Statement::allow("TagWhatIsNew", &["ec2:CreateTags"], tagged.concat())
                .making(self.image())
                .when("StringEquals", "ec2:CreateAction", MAKING),
        ];
        all.extend(tried);
        all
    }

    fn launched_from(&self) -> Vec<String> {
        let ami = match &self.plan.base {
            Some(Base::Ami(Ami::Id(id))) => format!("image/{id}"),
            _ => "image/*".to_owned(),
        };
        let subnet = self.ec2.subnet.as_deref().unwrap_or("*");
        let subnet = format!("subnet/{subnet}");
        // The snapshots of an AMI belong to whoever made it.
        let snapshots = self.of_nobody("snapshot/*");
        [self.of_nobody(&ami), snapshots, self.of(&subnet)].concat()
    }

    fn launched_into(&self) -> Statement {
        let run = |resources| {
            Statement::allow("LaunchIntoSecurityGroups", &["ec2:RunInstances"], resources)
        };
        if self.makes_group() {
            return run(self.of("security-group/*")).made_for(self.image());
        }
        let groups = self.ec2.security_groups.iter();
        run(groups
            .flat_map(|id| self.of(&format!("security-group/{id}")))
            .collect())
    }

    /// Which role a profile has is not known. An instance gets no other profile than this one.
    fn profile(&self) -> Option<Statement> {
        self.ec2.instance_profile.as_ref()?;
        let is_chinese = self.regions.iter().any(|it| it.starts_with("cn-"));
        let service = ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"][usize::from(is_chinese)];
        let roles = without_region(arns("iam", self.regions, "*", "role/*"));
        let pass = Statement::allow("GiveInstancesTheirRole", &["iam:PassRole"], roles);
        Some(pass.when("StringEquals", "iam:PassedToService", [service]))
    }

    /// The security group of a run, unless the template names some.
    fn groups(&self) -> Vec<Statement> {
        if !self.makes_group() {
            return Vec::new();
        }
        let vpc = self.ec2.vpc.as_deref().unwrap_or("*");
        let mut change = vec!["ec2:DeleteSecurityGroup"];
        if self.interface != Interface::Ssm || self.ec2.ingress.is_some() {
            change.push("ec2:AuthorizeSecurityGroupIngress");
        }
        if self.is_sealed() {
            change.push("ec2:RevokeSecurityGroupEgress");
            if self.interface == Interface::Ssm {
                change.push("ec2:AuthorizeSecurityGroupEgress");
            }
        }
        let create = ["ec2:CreateSecurityGroup"];
        let groups = || self.of("security-group/*");
        vec![
            Statement::allow("MakeSecurityGroups", &create, groups()).making(self.image()),
            Statement::allow("MakeThemInVpcs", &create, self.of(&format!("vpc/{vpc}"))),
            Statement::allow("UseSecurityGroups", &change, groups()).made_for(self.image()),
            // The instance has to be karat's, too. It goes to the VPC's own one, which has no tag.
            Statement::allow(
                "LeaveSecurityGroups",
                &["ec2:ModifyInstanceAttribute"],
                groups(),
            ),
        ]
    }

    fn instances(&self) -> Vec<Statement> {
        let mut change = vec!["ec2:TerminateInstances", "ec2:GetConsoleOutput"];
        if !self.ec2.spot {
            change.push("ec2:StopInstances");
        }
        if self.makes_group() {
            change.push("ec2:ModifyInstanceAttribute");
        }
        let (use_it, remove) = (self.of("instance/*"), self.of("volume/*"));
        vec![
            Statement::allow("UseInstances", &change, use_it).made_for(self.image()),
            Statement::allow("RemoveVolumes", &["ec2:DeleteVolume"], remove).made_for(self.image()),
        ]
    }

    /// Taking snapshots, reading them, and saying what they have become.
    fn snapshots(&self) -> Vec<Statement> {
        let (create, snapshots) = (["ec2:CreateSnapshot"], || self.of_nobody("snapshot/*"));
        let read = [
            "ebs:ListSnapshotBlocks",
            "ebs:GetSnapshotBlock",
            "ec2:DeleteSnapshot",
        ];
        vec![
            Statement::allow("TakeSnapshots", &create, snapshots()).making(self.image()),
            Statement::allow("TakeThemOfVolumes", &create, self.of("volume/*"))
                .made_for(self.image()),
            Statement::allow("ReadSnapshots", &read, snapshots()).made_for(self.image()),
            Statement::allow("NameSnapshots", &["ec2:CreateTags"], snapshots())
                .making(self.image())
                .made_for(self.image()),
        ]
    }

    /// What the AWS command line needs that carries SSH.
    fn sessions(&self) -> Vec<Statement> {
        if self.interface != Interface::Ssm {
            return Vec::new();
        }
        let document = arns("ssm", self.regions, "", "document/AWS-StartSSHSession");
        let start = ["ssm:StartSession"];
        let tag = format!("ssm:resourceTag/{IMAGE}");
        let end = ["ssm:TerminateSession", "ssm:ResumeSession"];
        let own = arns("ssm", self.regions, "*", "session/${aws:userid}-*");
        vec![
            Statement::allow("OpenSessions", &start, self.of("instance/*")).when(
                "StringEquals",
                tag,
                [self.image()],
            ),
            Statement::allow("OpenThemForSsh", &start, document),
            Statement::allow("EndSessions", &end, own),
        ]
    }
}

/// IAM's resources are of no region.
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
