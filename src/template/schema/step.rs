//! Files, steps and tests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Digest, Duration, GuestPath, HostPath, Url};
use super::{CreatesEntry, Spanned, Str};
use crate::template::scalar::{Flag, Number, Scalar};

/// A file of the image: exactly one of `source`, `content` and `url`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// File or directory. A directory's content is merged into `destination`. Symbolic links are followed. Required unless
    /// `content` or `url` is set.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["files/nginx.conf"]))]
    pub source: Option<Str>,
    /// Text of the file. May contain secrets. Required unless `source` or `url` is set.
    #[schemars(extend("examples" = ["{{ greeting }}\n"]))]
    pub content: Option<Str>,
    /// File that karat downloads on the host. Needs `sha256`. Required unless `source` or `content` is set.
    #[schemars(with = "Option<Url>", extend("examples" = ["https://example.org/tool.tar.gz"]))]
    pub url: Option<Str>,
    /// Digest of the download. Required with `url`.
    #[schemars(
        with = "Option<Digest>",
        extend("examples" = ["b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"])
    )]
    pub sha256: Option<Str>,
    /// Path of the file. With a trailing `/`, or if it is a directory, the file goes into it; not for `content`.
    #[schemars(with = "GuestPath", extend("examples" = ["/etc/nginx/nginx.conf"]))]
    pub destination: Option<Str>,
    /// Permission bits. Default: `"0755"` if the source is executable, else `"0644"`.
    #[schemars(
        title = "string, 3 or 4 octal digits",
        regex(pattern = "^[0-7]{3,4}$"),
        extend("examples" = ["0600"])
    )]
    pub mode: Option<Str>,
    /// Owner of the file: `user` or `user:group`. Default: `"root:root"`.
    #[schemars(extend("examples" = ["www-data:www-data"]))]
    pub owner: Option<Str>,
}

/// A step: exactly one of `shell`, `file`, `download`, `reboot` and `pause`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// Name in the log and in `KARAT_STEP`. Default: from the action: first command, script or path.
    #[schemars(extend("examples" = ["check the configuration"]))]
    pub name: Option<Str>,
    /// Limit for each try. Not zero. Default: `"30m"`.
    #[schemars(with = "Option<Duration>", extend("examples" = ["10m"]))]
    pub timeout: Option<Spanned<Scalar>>,
    /// Number of further tries after a failure. Refused network requests and the death of the machine are not retried.
    /// Default: `0`.
    #[schemars(extend("examples" = [2]))]
    pub retries: Option<Number>,
    /// Pause before each try. Default: `"0s"`.
    #[schemars(with = "Option<Duration>", extend("examples" = ["10s"]))]
    pub pause_before: Option<Spanned<Scalar>>,
    /// Paths and accounts that the step creates, so that the scan counts them as declared: globs, `user:NAME`,
    /// `group:NAME`, `group:NAME/MEMBER`, and tables for files with more rights.
    #[schemars(
        title = "list of globs, accounts and tables",
        extend("examples" = [["/opt/app/**", "user:app"]])
    )]
    pub creates: Vec<Spanned<CreatesEntry>>,
    /// Run the step only with these builders. Default: all.
    #[schemars(
        title = "list of `\"qemu\"`, `\"host\"`, `\"ec2\"`",
        inner(regex(pattern = "^(qemu|host|ec2)$")),
        extend("examples" = [["qemu"]])
    )]
    pub only: Option<Vec<Str>>,
    /// Do not run the step with these builders.
    #[schemars(
        title = "list of `\"qemu\"`, `\"host\"`, `\"ec2\"`",
        inner(regex(pattern = "^(qemu|host|ec2)$")),
        extend("examples" = [["host"]])
    )]
    pub except: Option<Vec<Str>>,
    pub shell: Option<Spanned<Shell>>,
    pub file: Option<Spanned<File>>,
    pub download: Option<Spanned<Download>>,
    pub reboot: Option<Spanned<Reboot>>,
    pub pause: Option<Spanned<Pause>>,
}

/// A script that runs in the guest: exactly one of `script` and `inline`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table with `script` or `inline`, as in { inline = [\"true\"] }"
)]
pub struct Shell {
    /// Script to run. Required unless `inline` is set.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["setup.sh"]))]
    pub script: Option<Str>,
    /// Lines of one script. May contain secrets. Required unless `script` is set.
    #[schemars(extend("examples" = [["nginx -t"]]))]
    pub inline: Option<Spanned<Vec<Str>>>,
    /// Additional environment variables. May contain secrets.
    #[schemars(
        title = "table of strings, integers, booleans",
        extend("examples" = [{"MODE": "production"}])
    )]
    pub environment: BTreeMap<Str, Spanned<Scalar>>,
    /// Directory that the script starts in. It must exist. Default: the user's home.
    #[schemars(with = "Option<GuestPath>", extend("examples" = ["/opt/app"]))]
    pub working_directory: Option<Str>,
    /// User that runs the script. It must exist. Default: `"root"`.
    #[schemars(extend("examples" = ["app"]))]
    pub user: Option<Str>,
    /// Exit codes that mean success. Default: `[0]`.
    #[schemars(inner(range(max = 255)), extend("examples" = [[0, 3]]))]
    pub exit_codes: Option<Spanned<Vec<Spanned<Number>>>>,
    /// The connection may drop, for example because of a reboot. karat reconnects and takes the script's exit code if it is
    /// still known. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub expect_disconnect: Option<Flag>,
}

/// Files of the guest that are copied out: exactly one of `source` and `sources`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// File or directory. Required unless `sources` is set.
    #[schemars(with = "Option<GuestPath>", extend("examples" = ["/var/log/app.log"]))]
    pub source: Option<Str>,
    /// Several files or directories. Required unless `source` is set.
    #[schemars(
        with = "Option<Vec<GuestPath>>",
        extend("examples" = [["/etc/app", "/var/log/app.log"]])
    )]
    pub sources: Option<Spanned<Vec<Str>>>,
    /// File, or directory if it ends with `/`, exists as one, or there are several sources. Created if missing.
    #[schemars(with = "HostPath", extend("examples" = ["out/"]))]
    pub destination: Option<Str>,
}

/// Restarts the machine and waits until it is back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an empty table: {}")]
pub struct Reboot {}

/// Waits for a fixed time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table: { duration = \"10s\" }")]
pub struct Pause {
    /// Time to wait.
    #[schemars(with = "Duration", extend("examples" = ["10s"]))]
    pub duration: Option<Spanned<Scalar>>,
}

/// A command that must succeed in a boot of the finished image.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Name in the log. Default: the command.
    #[schemars(extend("examples" = ["nginx runs"]))]
    pub name: Option<Str>,
    /// Command, run as root by `/bin/sh -eu`.
    #[schemars(required, extend("examples" = ["systemctl is-active nginx.service"]))]
    pub command: Option<Str>,
    /// Limit for the command. Default: `"2m"`.
    #[schemars(with = "Option<Duration>", extend("examples" = ["5m"]))]
    pub timeout: Option<Spanned<Scalar>>,
}
