//! Checks of `[publish]`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::check::{Checker, texts};
use crate::size::{DurationUse, GIB, SizeUse, show_duration, show_size};
use crate::template::problem::Problem;
use crate::template::schema::{self, Str};
use crate::template::spanned::Spanned;

/// Number of tags that a resource of AWS can have, minus those that karat adds
/// (<https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html>).
const MAX_TAGS: usize = 50 - 7;

/// Checked table `[publish.ec2]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublishEc2 {
    /// Profile of `~/.aws/config`. Default: the environment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Regions to create AMIs in. Empty: the region of the environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Prefix of the names of AMIs; the short id of the manifest follows. Default: the image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Description of AMIs and snapshots. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags of AMIs and snapshots.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Accounts that may launch the AMIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Organisations and organisational units that may launch the AMIs, by ARN.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// Time from the publication of an AMI to its deprecation.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "super::policy::age"
    )]
    pub deprecate_after: Option<Duration>,
    /// Protect AMIs from being deregistered. Default false.
    pub protect: bool,
    /// Encrypt snapshots at rest. Default false.
    pub encrypted: bool,
    /// KMS key to encrypt with: `alias/NAME`, a key's id, or its ARN. Default: the account's own for EBS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Type of the volumes of instances. Default `gp3`.
    pub volume_type: String,
    /// Size of the volumes of instances, in GiB. Default: the disk's size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<u64>,
    /// Boot mode of instances. Default: that of the guest that the image was built in.
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

/// Boot mode of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    /// Boots with the BIOS.
    LegacyBios,
    /// Boots with UEFI only.
    Uefi,
    /// Boots with UEFI where the instance type supports it.
    UefiPreferred,
}

impl BootMode {
    /// Returns AWS's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LegacyBios => "legacy-bios",
            Self::Uefi => "uefi",
            Self::UefiPreferred => "uefi-preferred",
        }
    }
}

/// Returns whether a text has the form of a region code, such as `eu-central-1` or `us-gov-west-1`.
#[must_use]
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    match parts.split_last() {
        Some((number, words)) if words.len() >= 2 => {
            words.iter().all(is_word)
                && (1..=2).contains(&number.len())
                && number.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    }
}

/// Returns whether a text has the form of an account id: twelve digits.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Lines of `karat plan`.
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
    for grantee in publish.accounts.iter().chain(&publish.organizations) {
        lines.push(format!("shared with {grantee}"));
    }
    if let Some(after) = publish.deprecate_after {
        lines.push(format!("deprecated after {}", show_duration(after)));
    }
    if publish.protect {
        lines.push("protected from deregistration".to_owned());
    }
    lines
}

impl Checker<'_> {
    /// Checks the table `[publish]`.
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
        let flag = |flag: Option<&crate::template::scalar::Flag>| flag.is_some_and(|flag| flag.0);
        let made = PublishEc2 {
            profile: (ec2.profile.as_ref())
                .map(|name| self.filled("profile", name, "set a profile, or leave it out")),
            regions: self.regions(ec2.regions.as_ref()),
            name: ec2.name.as_ref().map(|name| self.ami_name(name)),
            description: (ec2.description.as_ref()).map(|text| self.ami_description(text)),
            tags: self.tags(&ec2.tags),
            accounts: ec2.accounts.iter().map(|id| self.account(id)).collect(),
            organizations: (ec2.organizations.iter())
                .map(|arn| self.organization(arn))
                .collect(),
            deprecate_after: self.duration(ec2.deprecate_after.as_ref(), DurationUse::Age),
            protect: flag(ec2.protect.as_ref()),
            encrypted: flag(ec2.encrypted.as_ref()),
            kms_key: (ec2.kms_key.as_ref()).map(|key| {
                let help = "set a key, or leave it out to use the account's own";
                self.filled("kms_key", key, help)
            }),
            volume_type: self.volume_type(ec2.volume_type.as_ref()),
            volume_size: self
                .size(ec2.volume_size.as_ref(), SizeUse::Volume)
                .map(|size| size.div_ceil(GIB)),
            boot_mode: self.boot_mode(ec2.boot_mode.as_ref()),
        };
        if let Some(key) = &ec2.kms_key {
            if !made.encrypted {
                let problem = Problem::at(key.span(), "`kms_key` needs encryption");
                self.report(problem.help("add `encrypted = true`, or remove `kms_key`"));
            }
            if key.get_ref().starts_with("arn:") && made.regions.len() > 1 {
                let problem = Problem::at(key.span(), "a key's ARN is valid in one region only");
                self.report(problem.help("use `alias/NAME`, which can name a key in each region"));
            }
        } else if made.encrypted && !(made.accounts.is_empty() && made.organizations.is_empty()) {
            let what = "an image encrypted with the account's own key cannot be shared";
            self.report(Problem::at(span, what).help("set a customer-managed key with `kms_key`"));
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
                problem.help("add a region, or leave it out to use the region of the environment"),
            );
        }
        for (at, region) in list.get_ref().iter().enumerate() {
            let name = self.region_name(region);
            if list.get_ref()[..at]
                .iter()
                .any(|other| *other.get_ref() == name)
            {
                let what = format!("{name:?} is listed twice");
                self.report(Problem::at(region.span(), what));
            }
        }
        texts(list.get_ref())
    }

    /// Checks the characters and length that `RegisterImage` allows in names, minus the 13 characters that karat appends.
    fn ami_name(&mut self, name: &Str) -> String {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c);
        if text.trim().is_empty() || text.len() > 128 - 13 || !text.chars().all(fits) {
            let problem = Problem::at(
                name.span(),
                format!("{text:?} is not a valid name of an AMI"),
            );
            self.report(
                problem.help("use at most 115 letters, digits, spaces and ()[]./-'@_; the manifest's id is appended"),
            );
        }
        text.clone()
    }

    fn ami_description(&mut self, description: &Str) -> String {
        let text = description.get_ref();
        if text.len() > 255 || !text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            let problem = Problem::at(
                description.span(),
                "this is not a valid description of an AMI",
            );
            self.report(problem.help("AWS accepts at most 255 ASCII characters, in one line"));
        }
        text.clone()
    }

    pub(super) fn tags(&mut self, tags: &BTreeMap<Str, Str>) -> BTreeMap<String, String> {
        for (at, (key, value)) in tags.iter().enumerate() {
            let name = key.get_ref();
            let reserved = ["aws:", "karat:"]
                .iter()
                .any(|prefix| name.to_lowercase().starts_with(prefix));
            if name.is_empty() || name.chars().count() > 128 || reserved {
                let problem =
                    Problem::at(key.span(), format!("{name:?} is not a valid name of a tag"));
                self.report(problem.help(
                    "names have 1 to 128 characters; the prefixes `aws:` and `karat:` are reserved",
                ));
            }
            if value.get_ref().chars().count() > 256 {
                let problem = Problem::at(value.span(), "the value of a tag is too long");
                self.report(problem.help("values have at most 256 characters"));
            }
            if at == MAX_TAGS {
                let problem = Problem::at(key.span(), "too many tags");
                self.report(problem.help(format!("AWS allows {MAX_TAGS} besides karat's own")));
            }
        }
        let pair = |(key, value): (&Str, &Str)| (key.get_ref().clone(), value.get_ref().clone());
        tags.iter().map(pair).collect()
    }

    fn account(&mut self, account: &Str) -> String {
        let text = account.get_ref();
        if !is_account(text) {
            let problem = Problem::at(account.span(), format!("{text:?} is not an account id"));
            self.report(problem.help("use its twelve digits in quotes, such as \"123456789012\""));
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
                "use \"arn:aws:organizations::123456789012:organization/o-...\", or \"...:ou/o-.../ou-...\"",
            ));
        }
        text.clone()
    }

    fn volume_type(&mut self, kind: Option<&Str>) -> String {
        // Other types need further parameters.
        let kinds = ["gp3", "gp2", "standard"].map(|kind| (kind, kind));
        self.choice("volume_type", kind, &kinds, "gp3").to_owned()
    }

    fn boot_mode(&mut self, mode: Option<&Str>) -> Option<BootMode> {
        let modes = [
            BootMode::LegacyBios,
            BootMode::Uefi,
            BootMode::UefiPreferred,
        ];
        let modes = modes.map(|mode| (mode.name(), Some(mode)));
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
