//! `[base]`: the disk that a build starts from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Digest, FileUrl, HostPath};
use super::{Spanned, Str};

/// The disk that the build starts from. Without it a QEMU build starts from Debian bookworm.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Base {
    pub file: Option<Spanned<BaseFile>>,
    pub url: Option<Spanned<BaseUrl>>,
    pub bootstrap: Option<Spanned<Bootstrap>>,
    pub manifest: Option<Spanned<BaseManifest>>,
    pub ami: Option<Spanned<BaseAmi>>,
}

/// A disk image on this host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table with `path`")]
pub struct BaseFile {
    /// Disk image in a format that `qemu-img` reads.
    #[schemars(with = "HostPath", extend("examples" = ["base.qcow2"]))]
    pub path: Option<Str>,
    /// Expected digest of the file. A mismatch fails with exit code 4. Default: not checked.
    #[schemars(
        with = "Option<Digest>",
        extend("examples" = ["b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"])
    )]
    pub sha256: Option<Str>,
}

/// A disk image to download.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table with `url` and `sha256`")]
pub struct BaseUrl {
    /// Disk image to download.
    #[schemars(with = "FileUrl", extend("examples" = ["https://example.org/disk.qcow2"]))]
    pub url: Option<Str>,
    /// Expected digest of the download. Required unless `sha256_url` is set.
    #[schemars(
        with = "Option<Digest>",
        extend("examples" = ["b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"])
    )]
    pub sha256: Option<Str>,
    /// URL of a `SHA256SUMS` file that has a line for the file name. Prefer `sha256`: the list may change. Required unless
    /// `sha256` is set.
    #[schemars(with = "Option<FileUrl>", extend("examples" = ["https://example.org/SHA256SUMS"]))]
    pub sha256_url: Option<Str>,
}

/// An image in the store: exactly one of `channel` and `id`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table with `channel` or `id`")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct BaseManifest {
    /// Channel `IMAGE/CHANNEL`. When it moves, the lock file becomes stale. Required unless `id` is set.
    #[schemars(extend("examples" = ["base/stable"]))]
    pub channel: Option<Str>,
    /// At least 4 digits of the id of a manifest, or `NAME` or `NAME@latest` for the newest image of that name: when another becomes
    /// the newest, the lock file becomes stale. Required unless `channel` is set.
    #[schemars(extend("examples" = ["3aaf264e1bdf"]))]
    pub id: Option<Str>,
}

/// An Amazon Machine Image: `id`, or a search whose newest match is used.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table with `id`, or with `owners` and `name`"
)]
pub struct BaseAmi {
    /// Id of the AMI. Excludes the other keys.
    #[schemars(extend("examples" = ["ami-0123456789abcdef0"]))]
    pub id: Option<Str>,
    /// Owners: account ids, `"self"`, `"amazon"`, `"aws-marketplace"`. Required without `id`.
    #[schemars(extend("examples" = [["136693071363"]]))]
    pub owners: Option<Spanned<Vec<Str>>>,
    /// Name of the AMI, with `*`. Required without `id` and `filters`.
    #[schemars(extend("examples" = ["debian-12-amd64-*"]))]
    pub name: Option<Str>,
    /// Filters of EC2's `DescribeImages`.
    #[schemars(title = "table of lists", extend("examples" = [{"architecture": ["x86_64"]}]))]
    pub filters: BTreeMap<Str, Spanned<Vec<Str>>>,
}

/// A Debian or Ubuntu disk made from a package archive with mmdebstrap.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Distribution to install. Default: `"debian"`.
    #[schemars(extend("enum" = ["debian", "ubuntu"], "examples" = ["ubuntu"]))]
    pub distribution: Option<Str>,
    /// Code name of the release. Default: `"bookworm"` for Debian; required for Ubuntu.
    #[schemars(extend("examples" = ["noble"]))]
    pub suite: Option<Str>,
    /// Package archive to use. Default: the host's own apt sources.
    #[schemars(
        title = "URL (`https`, `http`, `file`), or whole `deb` lines of a `sources.list`",
        extend("examples" = ["https://mirror.example.org/debian"])
    )]
    pub mirror: Option<Str>,
}
