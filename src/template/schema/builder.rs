//! `[builder]`: the machine that is provisioned.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{HostPath, Size};
use super::{Spanned, Str};
use crate::template::scalar::{Flag, Number, Scalar};

/// The machine that is provisioned. Default: `[builder.qemu]` with its defaults.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Builder {
    pub qemu: Option<Spanned<Qemu>>,
    pub host: Option<Spanned<Host>>,
    pub ec2: Option<Spanned<Ec2>>,
}

/// A virtual machine on this host.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Qemu {
    /// Architecture of the guest. A foreign one is emulated. Default: the host's.
    #[schemars(extend("enum" = ["x86_64", "aarch64"], "examples" = ["aarch64"]))]
    pub arch: Option<Str>,
    /// Virtual processors. Default: `2`.
    #[schemars(range(min = 1), extend("examples" = [4]))]
    pub cpus: Option<Spanned<Number>>,
    /// Memory of the guest. Default: `"1GiB"`.
    #[schemars(with = "Option<Size>", extend("examples" = ["2GiB"]))]
    pub memory: Option<Spanned<Scalar>>,
    /// Size of the disk. It can only grow; the root file system follows. Default: the base's.
    #[schemars(with = "Option<Size>", extend("examples" = ["8GiB"]))]
    pub disk_size: Option<Spanned<Scalar>>,
    /// Boot firmware. aarch64 has no BIOS. Default: `"bios"` on x86_64, `"uefi"` on aarch64.
    #[schemars(extend("enum" = ["bios", "uefi"], "examples" = ["uefi"]))]
    pub firmware: Option<Str>,
    /// QEMU machine type, one of `qemu-system-ARCH -machine help`. Default: `"q35"` on x86_64, `"virt"` on aarch64.
    #[schemars(extend("examples" = ["pc"]))]
    pub machine: Option<Str>,
    /// `auto` uses KVM if it works. `kvm` fails without it. `tcg` emulates. Default: `"auto"`.
    #[schemars(extend("enum" = ["auto", "kvm", "tcg"], "examples" = ["kvm"]))]
    pub accelerator: Option<Str>,
    /// Arguments appended to QEMU's command line. `-netdev`, `-nic` and `-net` need `network.open = true`.
    #[schemars(extend("examples" = [["-vga", "std"]]))]
    pub extra_args: Vec<String>,
}

/// An existing host, provisioned over SSH. It gives no image.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are the template's keys"
)]
pub struct Host {
    /// Host name or IP address.
    #[schemars(required, extend("examples" = ["192.0.2.7"]))]
    pub address: Option<Str>,
    /// TCP port of sshd. Default: `22`.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [2222]))]
    pub port: Option<Spanned<Number>>,
    /// Public host key in OpenSSH's one-line form. Excludes `known_hosts`. Default: from `known_hosts`.
    #[schemars(extend("examples" = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJLmsw8pRhvrANCLvvDdqkYbCyu/OiIE3ZfzyTMrYzNa"]))]
    pub host_key: Option<Str>,
    /// File with the host's key. Default: `~/.ssh/known_hosts`.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["known_hosts"]))]
    pub known_hosts: Option<Str>,
}

/// An EC2 instance.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ec2 {
    /// Region of the instance. Default: the environment's or profile's.
    #[schemars(extend("examples" = ["eu-central-1"]))]
    pub region: Option<Str>,
    /// Profile of `~/.aws/config`. Default: the environment's.
    #[schemars(extend("examples" = ["build"]))]
    pub profile: Option<Str>,
    /// Architecture of the instance. Default: `"x86_64"`.
    #[schemars(extend("enum" = ["x86_64", "aarch64"], "examples" = ["aarch64"]))]
    pub arch: Option<Str>,
    /// Tried in this order while AWS has no capacity. Default: `["t3.small"]`, `["t4g.small"]` on aarch64.
    #[schemars(extend("examples" = [["t3.small", "t3a.small"]]))]
    pub instance_types: Option<Spanned<Vec<Str>>>,
    /// Use spot capacity. The disk is synced without stopping the instance. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub spot: Option<Flag>,
    /// Subnet to launch into. Excludes `vpc`.
    #[schemars(extend("examples" = ["subnet-0123456789abcdef0"]))]
    pub subnet: Option<Str>,
    /// VPC; every subnet of it is tried. Default: the default VPC.
    #[schemars(extend("examples" = ["vpc-0123456789abcdef0"]))]
    pub vpc: Option<Str>,
    /// Existing security groups. A sealed build requires that they allow no outbound traffic. Default: a temporary group.
    #[schemars(extend("examples" = [["sg-0123456789abcdef0"]]))]
    pub security_groups: Vec<Str>,
    /// Range that the temporary group allows SSH from, no wider than /8 (IPv6: /16). Excludes `security_groups`; required
    /// with `[ssh.jump]`. Default: the caller's own address.
    #[schemars(title = "CIDR range", extend("examples" = ["203.0.113.7/32"]))]
    pub ingress: Option<Str>,
    /// Name or ARN of an instance profile.
    #[schemars(extend("examples" = ["build"]))]
    pub instance_profile: Option<Str>,
    /// Size of the root volume. Default: the AMI's.
    #[schemars(
        with = "Option<Size>",
        title = "size, whole GiB",
        extend("examples" = ["16GiB"])
    )]
    pub volume_size: Option<Spanned<Scalar>>,
    /// Type of the root volume. Default: `"gp3"`.
    #[schemars(extend("examples" = ["gp2"]))]
    pub volume_type: Option<Str>,
    /// Encrypt the root volume, and so snapshot and AMI. Default: `true` if `kms_key` is set, else `false`.
    #[schemars(extend("examples" = [true]))]
    pub encrypted: Option<Spanned<Flag>>,
    /// KMS key to encrypt with. Default: the account's own.
    #[schemars(extend("examples" = ["alias/images"]))]
    pub kms_key: Option<Str>,
    /// Tags of everything that the build creates, besides karat's own.
    #[schemars(extend("examples" = [{"team": "web"}]))]
    pub tags: BTreeMap<Str, Str>,
}
