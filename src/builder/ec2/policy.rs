//! What IAM has to allow for a build on EC2, besides registering its AMI: the calls that this module makes, with what karat has
//! made for this image. Which conditions a call knows is in AWS's "Service Authorization Reference". Pure.

use crate::aws::policy::{Statement, arns};
use crate::plan::{Ec2, Interface};

/// What a launch makes.
const LAUNCHED: [&str; 3] = ["instance/*", "volume/*", "network-interface/*"];
const SPOT: &str = "spot-instances-request/*";

/// What has to be allowed to build an image of this name in these regions; in any, when none are named.
#[must_use]
pub fn statements(
    image: &str,
    ec2: &Ec2,
    interface: Interface,
    sealed: bool,
    regions: &[String],
) -> Vec<Statement> {
    let of = |kinds: &[&str]| -> Vec<String> {
        let arns = kinds.iter().map(|kind| arns("ec2", regions, "*", kind));
        arns.flatten().collect()
    };
    let mut all = vec![find(interface, sealed).within(regions)];
    if ec2.security_groups.is_empty() {
        all.extend(group(image, interface, sealed, &of));
    }
    all.extend(launch(image, ec2, regions, &of));
    all.extend(snapshot(image, regions, &of));
    if interface == Interface::Ssm {
        all.extend(session(image, regions, &of));
    }
    all
}

fn find(interface: Interface, sealed: bool) -> Statement {
    let mut find = vec![
        "ec2:DescribeInstances",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVolumes",
    ];
    if interface == Interface::Ssm && sealed {
        find.push("ec2:DescribeVpcs");
    }
    Statement::allow("FindWhatIsLaunched", &find, vec!["*".to_owned()])
}

/// The temporary security group.
fn group(
    image: &str,
    interface: Interface,
    sealed: bool,
    of: &impl Fn(&[&str]) -> Vec<String>,
) -> Vec<Statement> {
    let allow = Statement::allow;
    let mut change = vec!["ec2:DeleteSecurityGroup"];
    if interface != Interface::Ssm {
        change.push("ec2:AuthorizeSecurityGroupIngress");
    }
    if sealed {
        change.push("ec2:RevokeSecurityGroupEgress");
        if interface == Interface::Ssm {
            change.push("ec2:AuthorizeSecurityGroupEgress");
        }
    }
    let groups = || of(&["security-group/*"]);
    vec![
        allow("MakeGroups", &["ec2:CreateSecurityGroup"], groups()).making(image),
        allow(
            "MakeGroupsInNetworks",
            &["ec2:CreateSecurityGroup"],
            of(&["vpc/*"]),
        ),
        allow("TagNewGroups", &["ec2:CreateTags"], groups())
            .making(image)
            .when("StringEquals", "ec2:CreateAction", ["CreateSecurityGroup"]),
        allow("UseGroups", &change, groups()).made_for(image),
    ]
}

fn launch(
    image: &str,
    ec2: &Ec2,
    regions: &[String],
    of: &impl Fn(&[&str]) -> Vec<String>,
) -> Vec<Statement> {
    let allow = Statement::allow;
    let mut launched = LAUNCHED.to_vec();
    if ec2.spot {
        launched.push(SPOT);
    }
    // Those of an AMI belong to whoever made it, and have no account in their ARN.
    let mut from = arns("ec2", regions, "", "image/*");
    from.extend(arns("ec2", regions, "", "snapshot/*"));
    from.extend(of(&["subnet/*", "security-group/*"]));
    let mut use_it = vec!["ec2:GetConsoleOutput", "ec2:TerminateInstances"];
    if !ec2.spot {
        use_it.push("ec2:StopInstances");
    }
    let mut all = vec![
        allow("Launch", &["ec2:RunInstances"], of(&launched)).making(image),
        allow("LaunchFrom", &["ec2:RunInstances"], from),
        allow("TagWhatIsLaunched", &["ec2:CreateTags"], of(&launched))
            .making(image)
            .when("StringEquals", "ec2:CreateAction", ["RunInstances"]),
        allow("UseInstances", &use_it, of(&["instance/*"])).made_for(image),
    ];
    if ec2.security_groups.is_empty() {
        let change = ["ec2:ModifyInstanceAttribute"];
        all.push(allow("RegroupInstances", &change, of(&["instance/*"])).made_for(image));
        all.push(allow("RegroupInto", &change, of(&["security-group/*"])));
    }
    if ec2.instance_profile.is_some() {
        // Which role is in a profile, the template does not say.
        let roles = vec!["arn:*:iam::*:role/*".to_owned()];
        let service = "ec2.amazonaws.com*";
        all.push(
            allow("GiveInstancesTheirRole", &["iam:PassRole"], roles).when(
                "StringLike",
                "iam:PassedToService",
                [service],
            ),
        );
    }
    all
}

fn snapshot(
    image: &str,
    regions: &[String],
    of: &impl Fn(&[&str]) -> Vec<String>,
) -> Vec<Statement> {
    let allow = Statement::allow;
    let snapshots = || arns("ec2", regions, "", "snapshot/*");
    let take = ["ec2:CreateSnapshot"];
    let of_volumes = ["ec2:CreateSnapshot", "ec2:DeleteVolume"];
    vec![
        allow("UseVolumes", &of_volumes, of(&["volume/*"])).made_for(image),
        allow("TakeSnapshots", &take, snapshots()).making(image),
        allow("TagNewSnapshots", &["ec2:CreateTags"], snapshots())
            .making(image)
            .when("StringEquals", "ec2:CreateAction", ["CreateSnapshot"]),
        // Its manifest is known only when it was read.
        allow("NameSnapshots", &["ec2:CreateTags"], snapshots())
            .making(image)
            .made_for(image),
    ]
}

fn session(
    image: &str,
    regions: &[String],
    of: &impl Fn(&[&str]) -> Vec<String>,
) -> Vec<Statement> {
    let start = ["ssm:StartSession"];
    let document = arns("ssm", regions, "", "document/AWS-StartSSHSession");
    let tag = format!("ssm:resourceTag/{}", crate::aws::run::IMAGE);
    vec![
        Statement::allow("StartSessions", &start, of(&["instance/*"])).when(
            "StringEquals",
            tag,
            [image],
        ),
        Statement::allow("StartSessionsOfSsh", &start, document),
    ]
}
