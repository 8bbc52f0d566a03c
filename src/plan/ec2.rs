//! `[builder.ec2]`, `[base.ami]`, and what the other tables have for them.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;
use toml::Spanned;

use super::check::Checker;
use super::publish::is_region;
use super::{Arch, Base};
use crate::template::problem::{Problem, Span};
use crate::template::schema::{self, Str, Template};

const GIB: u64 = 1 << 30;
/// `[builder.ec2]`
#[derive(Clone, Debug, Serialize)]
pub struct Ec2 {
    /// Where; `None` takes what the environment or the profile says.
    pub region: Option<String>,
    /// A profile of `~/.aws/config`; `None` is the environment's.
    pub profile: Option<String>,
    /// Architecture of the instance. Default `x86_64`.
    pub arch: Arch,
    /// Types to try in this order while AWS has no room. Default `t3.small`, or `t4g.small` on `aarch64`.
    pub instance_types: Vec<String>,
    /// Take spare capacity, which is cheaper and may be taken away. Default false.
    pub spot: bool,
    /// A subnet to launch into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// A VPC, any of whose subnets will do; the default one for want of both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// Security groups that are there, instead of a temporary one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// From where the temporary security group lets SSH in; `None` is the caller's own address.
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
    /// The key to encrypt with; `None` is the account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Tags of everything that the build makes, besides karat's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// `[base.ami]`
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ami {
    /// This one.
    Id(String),
    /// The newest of these.
    Newest {
        /// Accounts, or `amazon`, `self`, ...: anybody can give an AMI any name.
        owners: Vec<String>,
        /// What it is searched by: the names of EC2's filters, with values that may have `*`.
        filters: BTreeMap<String, Vec<String>>,
    },
}

/// By which way an instance is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// Its public address.
    PublicIp,
    /// Its address in its own network.
    PrivateIp,
    /// A session of AWS Systems Manager.
    Ssm,
}

impl Interface {
    /// The name in templates.
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
            self.report(problem.and(subnet.span(), "the subnet, which is in a VPC, is here"));
        }
        if let (Some(ingress), Some(group)) = (&ec2.ingress, ec2.security_groups.first()) {
            let what = "`ingress` is for the temporary security group, and there is none";
            let problem = Problem::at(ingress.span(), what);
            self.report(problem.and(group.span(), "because these are used instead"));
        }
        let encrypted = ec2.encrypted.as_ref();
        if let (Some(flag), Some(key)) = (encrypted.filter(|it| !it.get_ref().0), &ec2.kms_key) {
            let problem = Problem::at(key.span(), "a key for a volume that is not encrypted");
            self.report(problem.and(flag.span(), "it is said here"));
        }
        let ids: Vec<_> = ec2.security_groups.iter().collect();
        Ec2 {
            region: ec2.region.as_ref().map(|it| self.region_name(it)),
            profile: ec2.profile.as_ref().map(|it| {
                self.filled(
                    "profile",
                    it,
                    "leave it out for the environment's credentials",
                )
            }),
            arch,
            instance_types: self.instance_types(ec2.instance_types.as_ref(), arch),
            spot: ec2.spot.is_some_and(|it| it.0),
            subnet: ec2.subnet.as_ref().map(|it| self.aws_id("subnet", it)),
            vpc: ec2.vpc.as_ref().map(|it| self.aws_id("vpc", it)),
            security_groups: ids.into_iter().map(|it| self.aws_id("sg", it)).collect(),
            ingress: ec2.ingress.as_ref().map(|it| self.ingress(it)),
            instance_profile: ec2
                .instance_profile
                .as_ref()
                .map(|it| self.filled("instance_profile", it, "write the profile's name or ARN")),
            volume_size: self.volume_size(ec2),
            volume_type: ec2.volume_type.as_ref().map_or_else(
                || "gp3".to_owned(),
                |it| self.filled("volume_type", it, "leave it out for `gp3`"),
            ),
            encrypted: encrypted.map_or(ec2.kms_key.is_some(), |it| it.get_ref().0),
            kms_key: ec2
                .kms_key
                .as_ref()
                .map(|it| self.filled("kms_key", it, "leave it out for the account's own key")),
            tags: self.tags(&ec2.tags),
        }
    }

    fn region_name(&mut self, region: &Str) -> String {
        let text = region.get_ref();
        if !is_region(text) {
            let problem = Problem::at(region.span(), format!("{text:?} is not a region"));
            self.report(problem.help("write it as in \"eu-central-1\""));
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
            let problem = Problem::at(types.span(), "`instance_types` names no type");
            self.report(problem.help("leave it out for the default"));
        }
        let valid = |text: &str| {
            let good = |part: &str| {
                let mut bytes = part.bytes();
                !part.is_empty()
                    && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            text.split_once('.')
                .is_some_and(|(family, size)| good(family) && good(size))
        };
        for kind in types.get_ref().iter().filter(|it| !valid(it.get_ref())) {
            let what = format!("{:?} is not an instance type", kind.get_ref());
            self.report(Problem::at(kind.span(), what).help("write it as in \"t3.small\""));
        }
        types
            .get_ref()
            .iter()
            .map(|it| it.get_ref().clone())
            .collect()
    }

    /// An id that AWS gave to something: `KIND-0123456789abcdef0`.
    fn aws_id(&mut self, kind: &str, id: &Str) -> String {
        let text = id.get_ref();
        let digits = text
            .strip_prefix(kind)
            .and_then(|rest| rest.strip_prefix('-'));
        let good = |it: &str| it.len() >= 8 && it.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits.is_some_and(good) {
            let what = match kind {
                "sg" => "a security group",
                "ami" => "an AMI",
                "vpc" => "a VPC",
                _ => "a subnet",
            };
            let problem = Problem::at(id.span(), format!("{text:?} is not the id of {what}"));
            self.report(problem.help(format!("it starts with `{kind}-`, as AWS shows it")));
        }
        text.clone()
    }

    /// SSH is never opened to the world.
    fn ingress(&mut self, ingress: &Str) -> String {
        let text = ingress.get_ref();
        let help = "name whoever builds, as in \"203.0.113.7/32\"; without it only the caller's own address is let in";
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
        let size = self.size("volume_size", Some(written))?;
        if size % GIB != 0 {
            let problem = Problem::at(written.span(), "a volume has whole GiB");
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
                let problem = Problem::at(other, "`id` names one AMI, and this searches for some");
                self.report(problem.and(id.span(), "the id is here"));
            }
            return Some(Base::Ami(Ami::Id(self.aws_id("ami", id))));
        }
        let help = "add `owners = [\"136693071363\"]`: anybody can give an AMI any name";
        let Some(owners) = owners else {
            self.missing(table, "owners", help);
            return None;
        };
        if owners.get_ref().is_empty() {
            self.report(Problem::at(owners.span(), "`owners` names nobody").help(help));
        }
        for owner in owners.get_ref() {
            let text = owner.get_ref();
            let is_account = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
            if !is_account && !["self", "amazon", "aws-marketplace"].contains(&text.as_str()) {
                let what = format!("{text:?} is not an owner");
                let help = "write the twelve digits of an account, or \"amazon\", \"self\"";
                self.report(Problem::at(owner.span(), what).help(help));
            }
        }
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, values) in filters {
            let texts = values.get_ref().iter().map(|it| it.get_ref().clone());
            all.insert(key.get_ref().clone(), texts.collect());
            if values.get_ref().is_empty() {
                self.report(Problem::at(values.span(), "this filter lets nothing pass"));
            }
        }
        if let Some(name) = name {
            let text = self.filled("name", name, "write it as in \"debian-12-amd64-*\"");
            if all.insert("name".to_owned(), vec![text]).is_some() {
                self.report(Problem::at(name.span(), "`name` is in `filters` too"));
            }
        }
        if all.is_empty() {
            self.missing(
                table,
                "name",
                "add `name = \"debian-12-amd64-*\"`, or `filters`",
            );
        }
        let owners = owners.get_ref().iter().map(|it| it.get_ref().clone());
        Some(Base::Ami(Ami::Newest {
            owners: owners.collect(),
            filters: all,
        }))
    }

    /// The snapshot is encrypted as the instance's volume is, and no second copy is made of it.
    fn ec2_publication(&mut self, template: &Template, ec2: &Ec2) {
        let publish = template.publish.as_ref();
        let Some(publish) = publish.and_then(|it| it.get_ref().ec2.as_ref()) else {
            return;
        };
        let (span, publish) = (publish.span(), publish.get_ref());
        if publish.encrypted.is_some_and(|it| it.0) && !ec2.encrypted {
            let what = "an image that is built on EC2 is encrypted when its instance is launched";
            let problem = Problem::at(span.clone(), what);
            self.report(problem.help("add `encrypted = true` to [builder.ec2]"));
        }
        let shared = !publish.accounts.is_empty() || !publish.organizations.is_empty();
        if shared && ec2.encrypted && ec2.kms_key.is_none() {
            let what = "an image that is encrypted with the account's own key cannot be shared";
            let problem = Problem::at(span, what);
            self.report(problem.help("name a key of yours with `kms_key` in [builder.ec2]"));
        }
    }

    /// `ssh.interface`, which an instance has and nothing else.
    pub(super) fn interface(&mut self, ssh: &schema::Ssh, ec2: Option<&Ec2>) -> Option<Interface> {
        let Some(ec2) = ec2 else {
            if let Some(interface) = &ssh.interface {
                let problem = Problem::at(interface.span(), "`interface` is for `ec2`");
                self.report(problem.help("remove it, or build with [builder.ec2]"));
            }
            return None;
        };
        let choices = [Interface::PublicIp, Interface::PrivateIp, Interface::Ssm];
        let choices = choices.map(|it| (it.name(), it));
        let chosen = self.choice("interface", ssh.interface.as_ref(), &choices, choices[0].1);
        if let (Interface::Ssm, Some(jump), Some(written)) = (chosen, &ssh.jump, &ssh.interface) {
            let problem = Problem::at(jump.span(), "a session of SSM goes through no jump host");
            self.report(problem.and(written.span(), "it is asked for here"));
        }
        if let (Some(jump), None, true) = (&ssh.jump, &ec2.ingress, ec2.security_groups.is_empty())
            && chosen != Interface::Ssm
        {
            let what = "through a jump host, the instance is reached from that one's address";
            let help = "add `ingress = \"10.0.0.7/32\"` to [builder.ec2] with the address that the instance sees";
            self.report(Problem::at(jump.span(), what).help(help));
        }
        Some(chosen)
    }

    /// What makes no sense with a disk that is not written anew, and with an image that is a snapshot.
    pub(super) fn ec2_tables(&mut self, template: &Template, ec2: &Ec2) {
        self.ec2_publication(template, ec2);
        let finish = template.finish.as_ref();
        let exceptions = finish
            .into_iter()
            .flat_map(|it| it.drop.iter().chain(&it.keep));
        if let Some(exception) = exceptions.into_iter().next() {
            let what =
                "nothing is dropped or kept here: the disk of an instance is not written anew";
            let help = "remove it in a step, or build with [builder.qemu] and publish the image";
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
