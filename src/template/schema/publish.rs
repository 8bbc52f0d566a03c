//! `[publish]`: how images are registered in clouds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Duration, Size};
use super::{Spanned, Str};
use crate::template::scalar::{Flag, Scalar};

/// How `karat publish` registers the image.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    pub ec2: Option<Spanned<PublishEc2>>,
}

/// How `karat publish` registers AMIs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PublishEc2 {
    /// Profile of `~/.aws/config`. Default: the environment's.
    #[schemars(extend("examples" = ["production"]))]
    pub profile: Option<Str>,
    /// Regions to create AMIs in. Default: the environment's region.
    #[schemars(extend("examples" = [["eu-central-1", "us-east-1"]]))]
    pub regions: Option<Spanned<Vec<Str>>>,
    /// Prefix of AMI names; `-` and 12 digits of the manifest id follow. Default: the image's name.
    #[schemars(
        title = "string, at most 115 characters",
        length(max = 115),
        extend("examples" = ["golden/web"])
    )]
    pub name: Option<Str>,
    /// Description of AMI and snapshot. Default: the image's.
    #[schemars(
        title = "string, at most 255 ASCII characters",
        length(max = 255),
        extend("examples" = ["nginx on Debian 12"])
    )]
    pub description: Option<Str>,
    /// Tags of AMI and snapshot, besides `Name` and karat's own (`karat:...`).
    #[schemars(title = "table of strings, at most 43", extend("examples" = [{"team": "web"}]))]
    pub tags: BTreeMap<Str, Str>,
    /// Accounts (12 digits) that may launch the AMI and read its snapshot.
    #[schemars(
        inner(regex(pattern = "^[0-9]{12}$")),
        extend("examples" = [["123456789012"]])
    )]
    pub accounts: Vec<Str>,
    /// ARNs of organizations and organizational units that may launch it.
    #[schemars(extend("examples" = [["arn:aws:organizations::123456789012:organization/o-abc"]]))]
    pub organizations: Vec<Str>,
    /// Time from publication to the deprecation of the AMI. Default: never.
    #[schemars(with = "Option<Duration>", extend("examples" = ["90d"]))]
    pub deprecate_after: Option<Spanned<Scalar>>,
    /// Protect the AMI from deregistration. `karat prune --ec2` lifts the protection first. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub protect: Option<Flag>,
    /// Encrypt the snapshot. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub encrypted: Option<Flag>,
    /// Key to encrypt with: `alias/NAME`, an id, or an ARN. Needs `encrypted`. Required to share an encrypted image. An ARN
    /// works in one region only. Default: the account's own.
    #[schemars(extend("examples" = ["alias/images"]))]
    pub kms_key: Option<Str>,
    /// Type of the volumes of instances. Default: `"gp3"`.
    #[schemars(extend("enum" = ["gp3", "gp2", "standard"], "examples" = ["gp2"]))]
    pub volume_type: Option<Str>,
    /// Size of the volumes of instances, rounded up to whole GiB. Default: the disk's.
    #[schemars(with = "Option<Size>", extend("examples" = ["16GiB"]))]
    pub volume_size: Option<Spanned<Scalar>>,
    /// Boot mode of instances. Default: as the guest booted.
    #[schemars(extend(
        "enum" = ["legacy-bios", "uefi", "uefi-preferred"],
        "examples" = ["uefi-preferred"]
    ))]
    pub boot_mode: Option<Str>,
}
