//! Where an image is put for those who launch it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use toml::Spanned;

use super::check::Checker;
use crate::size::{show_duration, show_size};
use crate::template::problem::Problem;
use crate::template::schema::{self, Str};

/// How many tags a resource of AWS can have, without those that karat puts on each
/// (<https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html>).
const MOST_TAGS: usize = 50 - 7;
/// A volume is made of whole GiB.
const GIB: u64 = 1 << 30;

/// `[publish.ec2]`
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublishEc2 {
    /// A profile of `~/.aws/config`. Default: what the environment says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Where AMIs are made. Empty: in the region that the environment names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// How the names of AMIs begin; the beginning of the manifest's id follows. Default: the image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of AMIs and snapshots. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// On AMIs and snapshots.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Accounts that may launch the AMIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Organisations and organisational units that may launch the AMIs, by ARN.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// How long after its publication an AMI is deprecated.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "age")]
    pub deprecate_after: Option<Duration>,
    /// Protect AMIs from being deregistered. Default false.
    pub protect: bool,
    /// Encrypt snapshots at rest. Default false.
    pub encrypted: bool,
    /// With which key: `alias/NAME`, a key's id, or its ARN. Default: the account's own for EBS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Of the volumes of instances. Default `gp3`.
    pub volume_type: String,
    /// Of the volumes of instances, in GiB. Default: the disk's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<u64>,
    /// How instances boot. Default: as the guest did that the image was built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_mode: Option<BootMode>,
}

impl Default for PublishEc2 {
    fn default() -> Self {
        Self {
            profile: None,
            regions: Vec::new(),
            name: None,
            description: None,
            tags: BTreeMap::new(),
            accounts: Vec::new(),
            organizations: Vec::new(),
            deprecate_after: None,
            protect: false,
            encrypted: false,
            kms_key: None,
            volume_type: "gp3".to_owned(),
            volume_size: None,
            boot_mode: None,
        }
    }
}

/// How an instance boots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    /// By the BIOS.
    LegacyBios,
    /// By UEFI.
    Uefi,
    /// By UEFI where the instance type has it.
    UefiPreferred,
}

impl BootMode {
    /// AWS's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LegacyBios => "legacy-bios",
            Self::Uefi => "uefi",
            Self::UefiPreferred => "uefi-preferred",
        }
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn age<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&show_duration(age.unwrap_or_default()))
}

/// Whether this may name a region, such as `eu-central-1`, `us-gov-west-1`.
#[must_use]
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) if words.len() >= 2 => {
            words.iter().all(is_word)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|it| it.is_ascii_digit())
        }
        _ => false,
    }
}

/// For people.
pub(super) fn show(publish: &PublishEc2) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(if publish.regions.is_empty() {
        "ec2: in the region of the environment".to_owned()
    } else {
        format!("ec2: {}", publish.regions.join(", "))
    });
    let mut volume = publish.volume_type.clone();
    if let Some(size) = publish.volume_size {
        volume = format!("{volume}, {}", show_size(size * GIB));
    }
    if publish.encrypted {
        volume += ", encrypted";
        if let Some(key) = &publish.kms_key {
            volume = format!("{volume} with {key}");
        }
    }
    lines.push(format!("volume: {volume}"));
    if let Some(mode) = publish.boot_mode {
        lines.push(format!("boot mode: {}", mode.name()));
    }
    for (key, value) in &publish.tags {
        lines.push(format!("tag: {key} = {value:?}"));
    }
    for who in publish.accounts.iter().chain(&publish.organizations) {
        lines.push(format!("shared with {who}"));
    }
    if let Some(after) = publish.deprecate_after {
        lines.push(format!("deprecated after {}", show_duration(after)));
    }
    if publish.protect {
        lines.push("protected from being deregistered".to_owned());
    }
    lines
}

impl Checker<'_> {
    /// `[publish]`
    pub(super) fn publish(
        &mut self,
        publish: Option<&Spanned<schema::Publish>>,
    ) -> Option<PublishEc2> {
        let publish = publish?;
        let table = publish.span();
        let Some(ec2) = &publish.get_ref().ec2 else {
            self.one_kind(&table, "a publication", &[("ec2", None)]);
            return None;
        };
        let span = ec2.span();
        let ec2 = ec2.get_ref();
        let flag = |flag: Option<&crate::template::scalar::Flag>| flag.is_some_and(|it| it.0);
        let made = PublishEc2 {
            profile: ec2
                .profile
                .as_ref()
                .map(|it| self.filled("profile", it, "name a profile, or leave it out")),
            regions: self.regions(ec2.regions.as_ref()),
            name: ec2.name.as_ref().map(|it| self.ami_name(it)),
            description: ec2.description.as_ref().map(|it| self.ami_description(it)),
            tags: self.tags(&ec2.tags),
            accounts: ec2.accounts.iter().map(|it| self.account(it)).collect(),
            organizations: ec2
                .organizations
                .iter()
                .map(|it| self.organization(it))
                .collect(),
            deprecate_after: self.duration(ec2.deprecate_after.as_ref()),
            protect: flag(ec2.protect.as_ref()),
            encrypted: flag(ec2.encrypted.as_ref()),
            kms_key: ec2.kms_key.as_ref().map(|it| {
                self.filled(
                    "kms_key",
                    it,
                    "name a key, or leave it out for the account's own",
                )
            }),
            volume_type: self.volume_type(ec2.volume_type.as_ref()),
            volume_size: self
                .size("volume_size", ec2.volume_size.as_ref())
                .map(|size| size.div_ceil(GIB)),
            boot_mode: self.boot_mode(ec2.boot_mode.as_ref()),
        };
        if let Some(key) = &ec2.kms_key {
            if !made.encrypted {
                let problem = Problem::at(key.span(), "a key without encryption");
                self.report(problem.help("add `encrypted = true`, or remove `kms_key`"));
            }
            if key.get_ref().starts_with("arn:") && made.regions.len() > 1 {
                let problem = Problem::at(key.span(), "a key's ARN is of one region");
                self.report(
                    problem.help("write `alias/NAME`, which each region has its own key for"),
                );
            }
        } else if made.encrypted && !(made.accounts.is_empty() && made.organizations.is_empty()) {
            let what = "an image that is encrypted with the account's own key cannot be shared";
            self.report(Problem::at(span, what).help("name a key of yours with `kms_key`"));
        }
        Some(made)
    }

    fn regions(&mut self, regions: Option<&Spanned<Vec<Str>>>) -> Vec<String> {
        let Some(list) = regions else {
            return Vec::new();
        };
        if list.get_ref().is_empty() {
            let problem = Problem::at(list.span(), "`regions` is empty");
            self.report(
                problem.help("name one, or leave it out for the region of the environment"),
            );
        }
        let mut names: Vec<String> = Vec::new();
        for region in list.get_ref() {
            let name = region.get_ref();
            if !is_region(name) {
                let problem = Problem::at(region.span(), format!("{name:?} is not a region"));
                self.report(problem.help("write a region's code, such as \"eu-central-1\""));
            }
            if names.contains(name) {
                self.report(Problem::at(
                    region.span(),
                    format!("{name:?} is there twice"),
                ));
            }
            names.push(name.clone());
        }
        names
    }

    /// Letters, digits and some more, as `RegisterImage` wants names; karat's own end needs 13.
    fn ami_name(&mut self, name: &Str) -> String {
        let text = name.get_ref();
        let fits = |it: char| it.is_ascii_alphanumeric() || "()[] ./-'@_".contains(it);
        if text.trim().is_empty() || text.len() > 128 - 13 || !text.chars().all(fits) {
            let problem = Problem::at(name.span(), format!("{text:?} cannot name an AMI"));
            self.report(
                problem.help("names have at most 115 letters, digits, spaces and ()[]./-'@_; the manifest's id follows"),
            );
        }
        text.clone()
    }

    fn ami_description(&mut self, description: &Str) -> String {
        let text = description.get_ref();
        if text.len() > 255 || !text.chars().all(|it| it.is_ascii_graphic() || it == ' ') {
            let problem = Problem::at(description.span(), "this cannot describe an AMI");
            self.report(problem.help("AWS takes at most 255 ASCII characters, all in one line"));
        }
        text.clone()
    }

    pub(super) fn tags(&mut self, tags: &BTreeMap<Str, Str>) -> BTreeMap<String, String> {
        for (at, (key, value)) in tags.iter().enumerate() {
            let name = key.get_ref();
            let reserved = ["aws:", "karat:"]
                .iter()
                .any(|it| name.to_lowercase().starts_with(it));
            if name.is_empty() || name.chars().count() > 128 || reserved {
                let problem = Problem::at(key.span(), format!("{name:?} cannot name a tag"));
                self.report(problem.help(
                    "names have 1 to 128 characters; `aws:` and `karat:` are not for templates",
                ));
            }
            if value.get_ref().chars().count() > 256 {
                let problem = Problem::at(value.span(), "this is too long for a tag");
                self.report(problem.help("values have at most 256 characters"));
            }
            if at == MOST_TAGS {
                let problem = Problem::at(key.span(), "these are too many tags");
                self.report(
                    problem.help(format!("AWS has room for {MOST_TAGS} besides karat's own")),
                );
            }
        }
        let pair = |(key, value): (&Str, &Str)| (key.get_ref().clone(), value.get_ref().clone());
        tags.iter().map(pair).collect()
    }

    fn account(&mut self, account: &Str) -> String {
        let text = account.get_ref();
        if text.len() != 12 || !text.bytes().all(|it| it.is_ascii_digit()) {
            let problem = Problem::at(account.span(), format!("{text:?} is not an account"));
            self.report(problem.help("write its twelve digits in quotes, as in \"123456789012\""));
        }
        text.clone()
    }

    fn organization(&mut self, organization: &Str) -> String {
        let text = organization.get_ref();
        let is_arn = text.starts_with("arn:")
            && text.contains(":organizations::")
            && (text.contains(":organization/o-") || text.contains(":ou/o-"));
        if !is_arn {
            let what = format!("{text:?} is not the ARN of an organisation or one of its units");
            self.report(Problem::at(organization.span(), what).help(
                "write \"arn:aws:organizations::123456789012:organization/o-...\", or \"...:ou/o-.../ou-...\"",
            ));
        }
        text.clone()
    }

    fn volume_type(&mut self, kind: Option<&Str>) -> String {
        // Those that need no further figures.
        let kinds = ["gp3", "gp2", "standard"].map(|it| (it, it));
        self.choice("volume_type", kind, &kinds, "gp3").to_owned()
    }

    fn boot_mode(&mut self, mode: Option<&Str>) -> Option<BootMode> {
        let modes = [
            BootMode::LegacyBios,
            BootMode::Uefi,
            BootMode::UefiPreferred,
        ];
        let modes = modes.map(|it| (it.name(), Some(it)));
        self.choice("boot_mode", mode, &modes, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_known_by_their_form() {
        for (text, expected) in [
            ("eu-central-1", true),
            ("us-gov-west-1", true),
            ("ap-southeast-12", true),
            ("eu-central", false),
            ("eu-central-1a", false),
            ("Frankfurt", false),
            ("eu--1", false),
            ("", false),
        ] {
            assert_eq!(is_region(text), expected, "{text:?}");
        }
    }
}
