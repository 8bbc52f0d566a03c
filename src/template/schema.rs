//! Tables of a template as written: names and shapes only. `plan` gives them meaning.
//!
//! Every table refuses unknown keys. None uses `flatten`, `untagged` or `tag`, which lose the span.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::scalar::{Flag, Number, Scalar};

/// A string with its place in the text.
pub type Str = Spanned<String>;

/// A template without `[variables]` and `[secrets]`, whose values have been inserted.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Template {
    pub image: Option<Spanned<Image>>,
    pub base: Option<Spanned<Base>>,
    pub builder: Option<Spanned<Builder>>,
    pub ssh: Option<Spanned<Ssh>>,
    pub network: Option<Spanned<Network>>,
    pub packages: Option<Packages>,
    pub files: Vec<Spanned<File>>,
    pub provision: Vec<Spanned<Step>>,
    pub on_error: Vec<Spanned<Step>>,
    pub test: Vec<Spanned<Test>>,
    pub finish: Option<Finish>,
    pub policy: Option<Spanned<Policy>>,
    pub output: Option<Spanned<Output>>,
    pub publish: Option<Spanned<Publish>>,
    // Parsed before everything else; listed here only so that a typo gets a suggestion.
    #[serde(rename = "variables")]
    _variables: Option<serde::de::IgnoredAny>,
    #[serde(rename = "secrets")]
    _secrets: Option<serde::de::IgnoredAny>,
}

/// `[variables]` and `[secrets]`, parsed first because everything else may refer to them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preamble {
    pub variables: BTreeMap<Str, Spanned<Variable>>,
    pub secrets: BTreeMap<Str, Spanned<Secret>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    pub default: Option<Spanned<Scalar>>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    pub env: Option<Str>,
    pub file: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: Option<Str>,
    pub description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    pub file: Option<Spanned<BaseFile>>,
    pub url: Option<Spanned<BaseUrl>>,
    pub bootstrap: Option<Spanned<Bootstrap>>,
    pub manifest: Option<Spanned<BaseManifest>>,
    pub ami: Option<Spanned<BaseAmi>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `path`")]
pub struct BaseFile {
    pub path: Option<Str>,
    pub sha256: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `url` and `sha256`")]
pub struct BaseUrl {
    pub url: Option<Str>,
    pub sha256: Option<Str>,
    pub sha256_url: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `channel` or `id`")]
pub struct BaseManifest {
    pub channel: Option<Str>,
    pub id: Option<Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table with `id`, or with `owners` and `name`"
)]
pub struct BaseAmi {
    pub id: Option<Str>,
    pub owners: Option<Spanned<Vec<Str>>>,
    pub name: Option<Str>,
    pub filters: BTreeMap<Str, Spanned<Vec<Str>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    pub distribution: Option<Str>,
    pub suite: Option<Str>,
    pub mirror: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    pub qemu: Option<Spanned<Qemu>>,
    pub host: Option<Spanned<Host>>,
    pub ec2: Option<Spanned<Ec2>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Qemu {
    pub arch: Option<Str>,
    pub cpus: Option<Spanned<Number>>,
    pub memory: Option<Spanned<Scalar>>,
    pub disk_size: Option<Spanned<Scalar>>,
    pub firmware: Option<Str>,
    pub machine: Option<Str>,
    pub accelerator: Option<Str>,
    pub extra_args: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are the template's keys"
)]
pub struct Host {
    pub address: Option<Str>,
    pub port: Option<Spanned<Number>>,
    pub host_key: Option<Str>,
    pub known_hosts: Option<Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ec2 {
    pub region: Option<Str>,
    pub profile: Option<Str>,
    pub arch: Option<Str>,
    pub instance_types: Option<Spanned<Vec<Str>>>,
    pub spot: Option<Flag>,
    pub subnet: Option<Str>,
    pub vpc: Option<Str>,
    pub security_groups: Vec<Str>,
    pub ingress: Option<Str>,
    pub instance_profile: Option<Str>,
    pub volume_size: Option<Spanned<Scalar>>,
    pub volume_type: Option<Str>,
    pub encrypted: Option<Spanned<Flag>>,
    pub kms_key: Option<Str>,
    pub tags: BTreeMap<Str, Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    pub user: Option<Str>,
    pub timeout: Option<Spanned<Scalar>>,
    pub key_file: Option<Str>,
    pub agent: Option<Spanned<Flag>>,
    pub min_port: Option<Spanned<Number>>,
    pub max_port: Option<Spanned<Number>>,
    pub jump: Option<Spanned<Jump>>,
    pub interface: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    pub address: Option<Str>,
    pub port: Option<Spanned<Number>>,
    pub user: Option<Str>,
    pub key_file: Option<Str>,
    pub host_key: Option<Str>,
    pub known_hosts: Option<Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    pub open: Option<Spanned<Flag>>,
    pub allow: Vec<Spanned<Allow>>,
    pub on_refused: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table with `url`, as in { url = \"https://example.org/tool\", sha256 = \"...\" }"
)]
pub struct Allow {
    pub url: Option<Str>,
    pub sha256: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    pub apt: Option<PackageTable<Repository>>,
    pub dnf: Option<Spanned<PackageTable<DnfRepository>>>,
}

/// `[packages.apt]` or `[packages.dnf]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, bound = "R: Deserialize<'de>")]
pub struct PackageTable<R> {
    #[serde(default)]
    pub install: Vec<Str>,
    #[serde(default)]
    pub remove: Vec<Str>,
    pub recommends: Option<Flag>,
    #[serde(default)]
    pub repositories: Vec<Spanned<R>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnfRepository {
    pub name: Option<Str>,
    pub uri: Option<Str>,
    pub key: Option<Str>,
    pub trusted: Option<Flag>,
    pub keep: Option<Flag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repository {
    pub name: Option<Str>,
    pub uri: Option<Str>,
    pub suites: Vec<Str>,
    pub components: Vec<Str>,
    pub key: Option<Str>,
    pub trusted: Option<Flag>,
    pub keep: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub source: Option<Str>,
    pub content: Option<Str>,
    pub url: Option<Str>,
    pub sha256: Option<Str>,
    pub destination: Option<Str>,
    pub mode: Option<Str>,
    pub owner: Option<Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    pub name: Option<Str>,
    pub timeout: Option<Spanned<Scalar>>,
    pub retries: Option<Number>,
    pub pause_before: Option<Spanned<Scalar>>,
    pub creates: Vec<Str>,
    pub only: Option<Vec<Str>>,
    pub except: Option<Vec<Str>>,
    pub shell: Option<Spanned<Shell>>,
    pub file: Option<Spanned<File>>,
    pub download: Option<Spanned<Download>>,
    pub reboot: Option<Spanned<Reboot>>,
    pub pause: Option<Spanned<Pause>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table with `script` or `inline`, as in { inline = [\"true\"] }"
)]
pub struct Shell {
    pub script: Option<Str>,
    pub inline: Option<Spanned<Vec<Str>>>,
    pub environment: BTreeMap<Str, Spanned<Scalar>>,
    pub working_directory: Option<Str>,
    pub user: Option<Str>,
    pub exit_codes: Option<Spanned<Vec<Spanned<Number>>>>,
    pub expect_disconnect: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    pub source: Option<Str>,
    pub sources: Option<Spanned<Vec<Str>>>,
    pub destination: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an empty table: {}")]
pub struct Reboot {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: { duration = \"10s\" }")]
pub struct Pause {
    pub duration: Option<Spanned<Scalar>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: Option<Str>,
    pub command: Option<Str>,
    pub timeout: Option<Spanned<Scalar>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Finish {
    pub rebuild: Option<Flag>,
    pub drop: Vec<Spanned<Exception>>,
    pub keep: Vec<Spanned<Exception>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    pub path: Option<Str>,
    pub reason: Option<Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub fail_on: Option<Str>,
    pub fixable_only: Option<Flag>,
    pub new_only: Option<Flag>,
    pub max_db_age: Option<Spanned<Scalar>>,
    /// Updates of the vulnerability database: with `"auto"` a build updates it first, as `karat db update` does, if it is missing or
    /// older than `max_db_age`.
    pub db: Option<Str>,
    pub ignore: Vec<Spanned<Ignore>>,
    pub vex: Vec<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    pub id: Option<Str>,
    pub package: Option<Str>,
    pub path: Option<Str>,
    pub reason: Option<Str>,
    pub until: Option<Str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub format: Option<Str>,
    pub path: Option<Str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    pub ec2: Option<Spanned<PublishEc2>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublishEc2 {
    pub profile: Option<Str>,
    pub regions: Option<Spanned<Vec<Str>>>,
    pub name: Option<Str>,
    pub description: Option<Str>,
    pub tags: BTreeMap<Str, Str>,
    pub accounts: Vec<Str>,
    pub organizations: Vec<Str>,
    pub deprecate_after: Option<Spanned<Scalar>>,
    pub protect: Option<Flag>,
    pub encrypted: Option<Flag>,
    pub kms_key: Option<Str>,
    pub volume_type: Option<Str>,
    pub volume_size: Option<Spanned<Scalar>>,
    pub boot_mode: Option<Str>,
}
