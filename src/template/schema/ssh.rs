//! `[ssh]`: the connection to the machine.

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Duration, HostPath};
use super::{Spanned, Str};
use crate::template::scalar::{Flag, Number, Scalar};

/// The connection to the machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Login name. Another user needs passwordless sudo; guests get it by cloud-init. Default: `"root"`.
    #[schemars(extend("examples" = ["debian"]))]
    pub user: Option<Str>,
    /// Limit for the first login, and for cloud-init and the boot of a test guest. Default: `"5m"`.
    #[schemars(with = "Option<Duration>", extend("examples" = ["15m"]))]
    pub timeout: Option<Spanned<Scalar>>,
    /// Private key without a passphrase. Excludes `agent = true`. Default: a generated key; for `host` the SSH agent.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["~/.ssh/build"]))]
    pub key_file: Option<Str>,
    /// Use the keys of the SSH agent (`SSH_AUTH_SOCK`). The base must authorize them already. Default: `false`; `true` for
    /// `host` without `key_file`.
    #[schemars(extend("examples" = [true]))]
    pub agent: Option<Spanned<Flag>>,
    /// First host port to forward to the guest's SSH. QEMU only; needs `max_port`. Default: any free port.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [22000]))]
    pub min_port: Option<Spanned<Number>>,
    /// Last host port. Needs `min_port`. Default: any free port.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [22099]))]
    pub max_port: Option<Spanned<Number>>,
    pub jump: Option<Spanned<Jump>>,
    /// Address of an EC2 instance to connect to, or a session of SSM. EC2 only. Default: `"public_ip"`.
    #[schemars(extend("enum" = ["public_ip", "private_ip", "ssm"], "examples" = ["ssm"]))]
    pub interface: Option<Str>,
}

/// A jump host to connect through. Not for `interface = "ssm"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// Host name or IP address.
    #[schemars(required, extend("examples" = ["192.0.2.1"]))]
    pub address: Option<Str>,
    /// TCP port of its sshd. Default: `22`.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [2222]))]
    pub port: Option<Spanned<Number>>,
    /// Login name on the jump host. Default: `"root"`.
    #[schemars(extend("examples" = ["jump"]))]
    pub user: Option<Str>,
    /// Private key without a passphrase. Default: the SSH agent.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["~/.ssh/jump"]))]
    pub key_file: Option<Str>,
    /// Public host key in one line. Excludes `known_hosts`. Default: from `known_hosts`.
    #[schemars(extend("examples" = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJLmsw8pRhvrANCLvvDdqkYbCyu/OiIE3ZfzyTMrYzNa"]))]
    pub host_key: Option<Str>,
    /// File with the jump host's key. Default: `~/.ssh/known_hosts`.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["known_hosts"]))]
    pub known_hosts: Option<Str>,
}
