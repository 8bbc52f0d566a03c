//! Checks of `[builder.ec2]`, `[base.ami]`, and the settings of other tables that go with them.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;

use super::check::{Checker, is_plain_name, texts};
use super::publish::{is_account, is_region};
use super::{Arch, Base};
use crate::size::{GIB, SizeUse};
use crate::template::problem::{Problem, Span};
use crate::template::schema::{self, Str, Template};
use crate::template::spanned::Spanned;

/// Checked table `[builder.ec2]`.
#[derive(Clone, Debug, Serialize)]
pub struct Ec2 {
    /// Region; `None` is that of the environment or the profile.
    pub region: Option<String>,
    /// Profile of `~/.aws/config`; `None` is the environment's.
    pub profile: Option<String>,
    /// Architecture of the instance. Default `x86_64`.
    pub arch: Arch,
    /// Instance types to try in this order while AWS has no capacity. Default `t3.small`, or `t4g.small` on `aarch64`.
    pub instance_types: Vec<String>,
    /// Use spot capacity, which is cheaper, but AWS may interrupt the instance. Default false.
    pub spot: bool,
    /// Subnet to launch into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// VPC to launch into, in any of its subnets. Without a subnet either, it is the default VPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Existing security groups, instead of a temporary one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// Addresses that the temporary security group allows SSH from; `None` is the caller's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// Name or ARN of an instance profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_profile: Option<String>,
    /// Size of the root volume in bytes, whole GiB; `None` keeps the AMI's.
    pub volume_size: Option<u64>,
    /// Type of the root volume. Default `gp3`.
    pub volume_type: String,
    /// Encrypt the root volume, and so the snapshot and the AMI. Default false.
    pub encrypted: bool,
    /// KMS key to encrypt with; `None` is the account's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Tags of all resources that the build creates, besides karat's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Checked table `[base.ami]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ami {
    /// The AMI with this id.
    Id(String),
    /// The newest AMI that matches.
    Newest {
        /// Accounts, or `amazon`, `self`, ...: AMIs of other owners may have any name.
        owners: Vec<String>,
        /// Names of EC2's filters, with values that may have `*`.
        filters: BTreeMap<String, Vec<String>>,
    },
}

/// Way to reach an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// By its public address.
    PublicIp,
    /// By its address inside the VPC.
    PrivateIp,
    /// Through a session of AWS Systems Manager.
    Ssm,
}

impl Interface {
    /// Returns its name in templates.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PublicIp => "public_ip",
            Self::PrivateIp => "private_ip",
            Self::Ssm => "ssm",
        }
    }
}

impl Checker<'_> {
    pub(super) fn ec2(&mut self, ec2: &schema::Ec2, arch: Arch) -> Ec2 {
        if let (Some(subnet), Some(vpc)) = (&ec2.subnet, &ec2.vpc) {
            let problem = Problem::at(vpc.span(), "`subnet` and `vpc` exclude each other");
            self.report(problem.and(
                subnet.span(),
                "the subnet, which determines the VPC, is here",
            ));
        }
        if let (Some(ingress), Some(group)) = (&ec2.ingress, ec2.security_groups.first()) {
            let what = "`ingress` configures the temporary security group, which is not created";
            let problem = Problem::at(ingress.span(), what);
            self.report(problem.and(group.span(), "these groups are used instead"));
        }
        let encrypted = ec2.encrypted.as_ref();
        if let (Some(flag), Some(key)) = (encrypted.filter(|flag| !flag.get_ref().0), &ec2.kms_key)
        {
            let problem = Problem::at(key.span(), "`kms_key` needs an encrypted volume");
            self.report(problem.and(flag.span(), "encryption is turned off here"));
        }
        Ec2 {
            region: (ec2.region.as_ref()).map(|region| self.region_name(region)),
            profile: (ec2.profile.as_ref()).map(|name| {
                let help = "leave it out to use the environment's credentials";
                self.filled("profile", name, help)
            }),
            arch,
            instance_types: self.instance_types(ec2.instance_types.as_ref(), arch),
            spot: ec2.spot.is_some_and(|flag| flag.0),
            subnet: (ec2.subnet.as_ref()).map(|id| self.aws_id("subnet", id)),
            vpc: ec2.vpc.as_ref().map(|id| self.aws_id("vpc", id)),
            security_groups: (ec2.security_groups.iter())
                .map(|id| self.aws_id("sg", id))
                .collect(),
            ingress: (ec2.ingress.as_ref()).map(|range| self.ingress(range)),
            instance_profile: (ec2.instance_profile.as_ref()).map(|profile| {
                self.filled("instance_profile", profile, "set the profile's name or ARN")
            }),
            volume_size: self.volume_size(ec2),
            volume_type: ec2.volume_type.as_ref().map_or_else(
                || "gp3".to_owned(),
                |kind| self.filled("volume_type", kind, "leave it out to use `gp3`"),
            ),
            encrypted: encrypted.map_or(ec2.kms_key.is_some(), |flag| flag.get_ref().0),
            kms_key: (ec2.kms_key.as_ref()).map(|key| {
                let help = "leave it out to use the account's own key";
                self.filled("kms_key", key, help)
            }),
            tags: self.tags(&ec2.tags),
        }
    }

    pub(super) fn region_name(&mut self, region: &Str) -> String {
        let text = region.get_ref();
        if !is_region(text) {
            let problem = Problem::at(region.span(), format!("{text:?} is not a region"));
            self.report(problem.help("use a region code such as \"eu-central-1\""));
        }
        text.clone()
    }

    fn instance_types(&mut self, types: Option<&Spanned<Vec<Str>>>, arch: Arch) -> Vec<String> {
        let Some(types) = types else {
            let usual = match arch {
                Arch::X86_64 => "t3.small",
                Arch::Aarch64 => "t4g.small",
            };
            return vec![usual.to_owned()];
        };
        if types.get_ref().is_empty() {
            let problem = Problem::at(types.span(), "`instance_types` is empty");
            self.report(problem.help("leave it out to use the default"));
        }
        let valid = |text: &str| {
            text.split_once('.')
                .is_some_and(|(family, size)| is_plain_name(family) && is_plain_name(size))
        };
        for kind in types.get_ref().iter().filter(|kind| !valid(kind.get_ref())) {
            let what = format!("{:?} is not an instance type", kind.get_ref());
            self.report(Problem::at(kind.span(), what).help("use a type such as \"t3.small\""));
        }
        texts(types.get_ref())
    }

    /// Checks an id of AWS: `KIND-0123456789abcdef0`.
    fn aws_id(&mut self, kind: &str, id: &Str) -> String {
        let text = id.get_ref();
        let digits = text
            .strip_prefix(kind)
            .and_then(|rest| rest.strip_prefix('-'));
        let good = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits.is_some_and(good) {
            let what = match kind {
                "sg" => "a security group",
                "ami" => "an AMI",
                "vpc" => "a VPC",
                _ => "a subnet",
            };
            let problem = Problem::at(id.span(), format!("{text:?} is not the id of {what}"));
            self.report(problem.help(format!("ids of this kind start with `{kind}-`")));
        }
        text.clone()
    }

    /// Checks the addresses that SSH is allowed from: never the whole internet.
    fn ingress(&mut self, ingress: &Str) -> String {
        let text = ingress.get_ref();
        let help = "use the address of the machine that builds, such as \"203.0.113.7/32\"; by default only the caller's own address is allowed";
        match text.parse::<IpNet>() {
            Err(_) => {
                let what = format!("invalid address range {text:?}");
                self.report(Problem::at(ingress.span(), what).help(help));
            }
            Ok(range) if is_wide(&range) => {
                let what = format!("{text:?} would open SSH to the world");
                self.report(Problem::at(ingress.span(), what).help(help));
            }
            Ok(_) => {}
        }
        text.clone()
    }

    fn volume_size(&mut self, ec2: &schema::Ec2) -> Option<u64> {
        let written = ec2.volume_size.as_ref()?;
        let size = self.size(Some(written), SizeUse::Volume)?;
        if size % GIB != 0 {
            let problem = Problem::at(
                written.span(),
                "the size of a volume is a whole number of GiB",
            );
            self.report(problem.help(format!("write \"{}GiB\"", size.div_ceil(GIB))));
        }
        Some(size)
    }

    pub(super) fn base_ami(&mut self, table: &Span, ami: &schema::BaseAmi) -> Option<Base> {
        let schema::BaseAmi {
            id,
            owners,
            name,
            filters,
        } = ami;
        if let Some(id) = id {
            let others = [
                owners.as_ref().map(Spanned::span),
                name.as_ref().map(Spanned::span),
                filters.first_key_value().map(|(key, _)| key.span()),
            ];
            if let Some(other) = others.into_iter().flatten().next() {
                let problem = Problem::at(other, "`id` names an AMI, so this search has no effect");
                self.report(problem.and(id.span(), "the id is here"));
            }
            return Some(Base::Ami(Ami::Id(self.aws_id("ami", id))));
        }
        let help = "add `owners = [\"136693071363\"]`: AMIs of other owners may have any name";
        let Some(owners) = owners else {
            self.missing(table, "owners", help);
            return None;
        };
        if owners.get_ref().is_empty() {
            self.report(Problem::at(owners.span(), "`owners` is empty").help(help));
        }
        for owner in owners.get_ref() {
            let text = owner.get_ref();
            if !is_account(text) && !["self", "amazon", "aws-marketplace"].contains(&text.as_str())
            {
                let what = format!("{text:?} is not an owner");
                let help = "use an account id of twelve digits, or \"amazon\", \"self\"";
                self.report(Problem::at(owner.span(), what).help(help));
            }
        }
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, values) in filters {
            all.insert(key.get_ref().clone(), texts(values.get_ref()));
            if values.get_ref().is_empty() {
                self.report(Problem::at(values.span(), "this filter has no values"));
            }
        }
        if let Some(name) = name {
            let text = self.filled("name", name, "use a name such as \"debian-12-amd64-*\"");
            if all.insert("name".to_owned(), vec![text]).is_some() {
                self.report(Problem::at(name.span(), "`filters` sets `name` too"));
            }
        }
        if all.is_empty() {
            self.missing(
                table,
                "name",
                "add `name = \"debian-12-amd64-*\"`, or `filters`",
            );
        }
        Some(Base::Ami(Ami::Newest {
            owners: texts(owners.get_ref()),
            filters: all,
        }))
    }

    /// Checks `[publish.ec2]`: the snapshot is encrypted as the instance's volume is, since no second copy is made of it.
    fn ec2_publication(&mut self, template: &Template, ec2: &Ec2) {
        let publish = template.publish.as_ref();
        let Some(publish) = publish.and_then(|publish| publish.get_ref().ec2.as_ref()) else {
            return;
        };
        let (span, publish) = (publish.span(), publish.get_ref());
        if publish.encrypted.is_some_and(|flag| flag.0) && !ec2.encrypted {
            let what = "an image built on EC2 is encrypted only if its instance is";
            let problem = Problem::at(span.clone(), what);
            self.report(problem.help("add `encrypted = true` to [builder.ec2]"));
        }
        let shared = !publish.accounts.is_empty() || !publish.organizations.is_empty();
        if shared && ec2.encrypted && ec2.kms_key.is_none() {
            let what = "an image encrypted with the account's own key cannot be shared";
            let problem = Problem::at(span, what);
            self.report(problem.help("set a customer-managed key with `kms_key` in [builder.ec2]"));
        }
    }

    /// Checks `ssh.interface`, which only instances have.
    pub(super) fn interface(&mut self, ssh: &schema::Ssh, ec2: Option<&Ec2>) -> Option<Interface> {
        let Some(ec2) = ec2 else {
            if let Some(interface) = &ssh.interface {
                let problem = Problem::at(interface.span(), "`interface` requires [builder.ec2]");
                self.report(problem.help("remove it, or build with [builder.ec2]"));
            }
            return None;
        };
        let choices = [Interface::PublicIp, Interface::PrivateIp, Interface::Ssm];
        let choices = choices.map(|choice| (choice.name(), choice));
        let chosen = self.choice("interface", ssh.interface.as_ref(), &choices, choices[0].1);
        if let (Interface::Ssm, Some(jump), Some(written)) = (chosen, &ssh.jump, &ssh.interface) {
            let problem = Problem::at(jump.span(), "a session of SSM cannot use a jump host");
            self.report(problem.and(written.span(), "SSM is selected here"));
        }
        if let (Some(jump), None, true) = (&ssh.jump, &ec2.ingress, ec2.security_groups.is_empty())
            && chosen != Interface::Ssm
        {
            let what = "with a jump host, SSH comes from an address that karat does not know";
            let help = "add `ingress = \"10.0.0.7/32\"` to [builder.ec2], with the jump host's address as the instance sees it";
            self.report(Problem::at(jump.span(), what).help(help));
        }
        Some(chosen)
    }

    /// Checks the tables that have no effect on a snapshot, whose disk is not normalized.
    pub(super) fn ec2_tables(&mut self, template: &Template, ec2: &Ec2) {
        self.ec2_publication(template, ec2);
        let finish = template.finish.as_ref();
        let exceptions = finish
            .into_iter()
            .flat_map(|finish| finish.drop.iter().chain(&finish.keep));
        if let Some(exception) = exceptions.into_iter().next() {
            let what = "[finish] has no effect on EC2: the disk of an instance is not normalized";
            let help =
                "delete the files in a step, or build with [builder.qemu] and publish the image";
            self.report(Problem::at(exception.span(), what).help(help));
        }
    }
}

/// Returns true for a range that is as good as the whole internet: wider than /8, the largest private network (10.0.0.0/8), or
/// for IPv6 wider than /16, more than any site gets.
fn is_wide(range: &IpNet) -> bool {
    range.prefix_len() < if range.addr().is_ipv6() { 16 } else { 8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_internet_is_told_from_a_network() {
        for (text, wide) in [
            ("203.0.113.7/32", Some(false)),
            ("10.0.0.0/8", Some(false)),
            ("0.0.0.0/0", Some(true)),
            ("128.0.0.0/1", Some(true)),
            ("2001:db8::7/128", Some(false)),
            ("::/0", Some(true)),
            ("2000::/3", Some(true)),
            ("203.0.113.7", None),
            ("203.0.113.7/33", None),
            ("::1/129", None),
            ("example.org/32", None),
            ("", None),
        ] {
            let range = text.parse::<IpNet>().ok();
            assert_eq!(range.as_ref().map(is_wide), wide, "{text}");
            if let Some(range) = range {
                assert_eq!(range.to_string(), text);
            }
        }
    }
}
