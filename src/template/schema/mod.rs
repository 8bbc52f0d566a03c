//! Tables of a template as written: names, shapes and documentation. `plan` gives them meaning.
//!
//! Every table refuses unknown keys. None uses `flatten`, `untagged` or `tag`, which lose the span.
//!
//! `karat schema` and the tables of `docs/reference/template.md` are made from these types. A key's documentation is its
//! meaning; its last sentence may be `Default: ...` or `Required ...`. A default in backticks is a TOML value. The title of a
//! key, or of its kind of value, is its type.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{Flag, Scalar};
use super::spanned::Spanned;

mod base;
mod builder;
mod creates;
mod json;
mod kinds;
mod network;
mod packages;
mod policy;
mod publish;
mod ssh;
mod step;

pub use base::{Base, BaseAmi, BaseFile, BaseManifest, BaseUrl, Bootstrap};
pub use builder::{Builder, Ec2, Host, Qemu};
pub use creates::{Creates, CreatesEntry};
pub(crate) use json::json_schema;
#[cfg(test)]
pub(crate) use json::{default_of, definitions};
pub use network::{Allow, Network};
pub use packages::{Accept, Apt, Dnf, Packages, Repository};
pub use policy::{Ignore, Policy};
pub use publish::Publish;
pub use ssh::{Jump, Ssh};
pub use step::{Download, File, Shell, Step, Test};

use kinds::{Glob, HostPath};

/// A string with its place in the text.
pub type Str = Spanned<String>;

/// A template without `[variables]` and `[secrets]`, whose values have been inserted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(
    title = "karat template",
    description = "A machine image that karat builds.",
    extend("required" = ["image"])
)]
pub struct Template {
    pub image: Option<Spanned<Image>>,
    pub base: Option<Spanned<Base>>,
    pub builder: Option<Spanned<Builder>>,
    pub ssh: Option<Spanned<Ssh>>,
    pub network: Option<Spanned<Network>>,
    pub packages: Option<Packages>,
    /// Files that are copied after the packages and before the first step.
    pub files: Vec<Spanned<File>>,
    /// Steps, in the order in which they run.
    pub provision: Vec<Spanned<Step>>,
    /// Steps that run after a failure, before the machine is destroyed.
    pub on_error: Vec<Spanned<Step>>,
    /// Commands that must succeed in a boot of the finished image.
    pub test: Vec<Spanned<Test>>,
    pub finish: Option<Finish>,
    pub policy: Option<Spanned<Policy>>,
    pub output: Option<Spanned<Output>>,
    pub publish: Option<Spanned<Publish>>,
    // Parsed before everything else; listed here only so that a typo gets a suggestion.
    /// Values that `{{ name }}` stands for in strings.
    #[serde(rename = "variables")]
    #[schemars(
        with = "BTreeMap<String, Variable>",
        extend("propertyNames" = {"pattern": "^[a-z][a-z0-9_]*$"})
    )]
    _variables: Option<serde::de::IgnoredAny>,
    /// Values that are neither shown nor recorded. `{{ name }}` stands for one in commands and contents of files.
    #[serde(rename = "secrets")]
    #[schemars(
        with = "BTreeMap<String, Secret>",
        extend("propertyNames" = {"pattern": "^[a-z][a-z0-9_]*$"})
    )]
    _secrets: Option<serde::de::IgnoredAny>,
}

/// `[variables]` and `[secrets]`, parsed first because everything else may refer to them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preamble {
    pub variables: BTreeMap<Str, Spanned<Variable>>,
    pub secrets: BTreeMap<Str, Spanned<Secret>>,
}

/// A variable of the template.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Value of the variable. May refer to other variables. Default: none, a value must be given.
    #[schemars(extend("examples" = ["auto"]))]
    pub default: Option<Spanned<Scalar>>,
    /// Comment for readers of the template. karat does not use it.
    #[serde(rename = "description")]
    #[schemars(extend("examples" = ["worker processes of nginx"]))]
    _description: Option<String>,
}

/// A secret: exactly one of `env` and `file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Secret {
    /// Environment variable of karat that holds the value. Required unless `file` is set.
    #[schemars(extend("examples" = ["REGISTRY_TOKEN"]))]
    pub env: Option<Str>,
    /// File that holds the value, in UTF-8. Required unless `env` is set.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["token"]))]
    pub file: Option<Str>,
}

/// The image that the template describes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Name of the image: a-z, 0-9 and `-`, not starting with `-`. Channels begin with it.
    #[schemars(
        required,
        regex(pattern = "^[a-z0-9][a-z0-9-]*$"),
        extend("examples" = ["debian-web"])
    )]
    pub name: Option<Str>,
    /// Free text for `karat plan` and `karat show`. Default: `""`.
    #[schemars(extend("examples" = ["nginx on Debian 12"]))]
    pub description: Option<String>,
}

/// Cleanup and normalization of the disk.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Finish {
    /// Clean the disk and rewrite the file system, so that the same inputs give the same bytes. `false` only compacts the
    /// disk; a base that is not in qcow2 or raw, or has not one ext4 file system, needs it. Default: `true`; always `false` with `[builder.ec2]`.
    #[schemars(extend("examples" = [false]))]
    pub rebuild: Option<Flag>,
    /// Paths to delete, `[[finish.drop]]`. Not with `[builder.ec2]`.
    #[schemars(extend("examples" = [[{"path": "/opt/app/cache", "reason": "created at the first start"}]]))]
    pub drop: Vec<Spanned<Exception>>,
    /// Paths to keep although the clean-up rules would delete them, `[[finish.keep]]`. Not with `[builder.ec2]`.
    #[schemars(extend("examples" = [[{"path": "/etc/machine-id", "reason": "a license is bound to it"}]]))]
    pub keep: Vec<Spanned<Exception>>,
}

/// A path of the image that the cleanup treats differently.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Path or glob. Not the whole image, and not a whole directory of the system such as `/etc`.
    #[schemars(with = "Glob", extend("examples" = ["/var/lib/app/cache/*"]))]
    pub path: Option<Str>,
    /// Reason for readers of the template.
    #[schemars(required, extend("examples" = ["created again at the first start"]))]
    pub reason: Option<Str>,
}

/// Files that the build writes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Format of the image in the store and of exports. `qcow2` is compressed with zstd. Default: `"qcow2"`.
    #[schemars(extend("enum" = ["qcow2", "raw", "vmdk", "vhd"], "examples" = ["raw"]))]
    pub format: Option<Str>,
    /// Also write the image here. An existing file is an error without `--force`.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["web.qcow2"]))]
    pub path: Option<Str>,
}
