//! `[packages]`: what the package manager installs.

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Glob, HostPath, Url};
use super::{Spanned, Str};
use crate::template::scalar::Flag;

/// Packages to install and remove: of `apt` or of `dnf`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub struct Packages {
    pub apt: Option<Apt>,
    pub dnf: Option<Spanned<Dnf>>,
}

/// Packages of Debian and Ubuntu.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apt {
    /// Packages to install: `name`, `name=version`, `name:arch`. Virtual packages are refused.
    #[serde(default)]
    #[schemars(extend("examples" = [["nginx-light", "curl"]]))]
    pub install: Vec<Str>,
    /// Names of packages to remove. `karat plan --unneeded` lists candidates.
    #[serde(default)]
    #[schemars(extend("examples" = [["apparmor"]]))]
    pub remove: Vec<Str>,
    /// Also install recommended packages. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub recommends: Option<Flag>,
    /// Further package sources, `[[packages.apt.repositories]]`.
    #[serde(default)]
    #[schemars(extend("examples" = [[{
        "name": "tools",
        "uri": "https://example.org/tools",
        "suites": ["stable"],
        "components": ["main"],
        "key": "files/tools.asc",
    }]]))]
    pub repositories: Vec<Spanned<Repository>>,
    /// Paths that maintainer scripts make, although they can run code or open a door.
    #[serde(default)]
    #[schemars(extend("examples" = [[{
        "path": "/usr/lib/tool/run",
        "package": "nginx-light",
        "reason": "its postinst unpacks it",
    }]]))]
    pub accept: Vec<Spanned<Accept>>,
}

/// Packages of distributions with dnf 4.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dnf {
    /// Packages to install: `name` or `name=version`.
    #[serde(default)]
    #[schemars(extend("examples" = [["nginx"]]))]
    pub install: Vec<Str>,
    /// Names of packages to remove.
    #[serde(default)]
    #[schemars(extend("examples" = [["cockpit"]]))]
    pub remove: Vec<Str>,
    /// Also install weak dependencies. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub recommends: Option<Flag>,
    /// Further package sources, `[[packages.dnf.repositories]]`.
    #[serde(default)]
    #[schemars(extend("examples" = [[{
        "name": "tools",
        "uri": "https://example.org/tools/9",
        "key": "files/tools.asc",
    }]]))]
    pub repositories: Vec<Spanned<DnfRepository>>,
    /// Paths that maintainer scripts make, although they can run code or open a door.
    #[serde(default)]
    #[schemars(extend("examples" = [[{
        "path": "/usr/lib/tool/run",
        "package": "nginx",
        "reason": "its postinst unpacks it",
    }]]))]
    pub accept: Vec<Spanned<Accept>>,
}

/// A path that maintainer scripts make, and that a scan would report.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Path or glob. Not the whole image, and not a whole directory of the system such as `/etc`.
    #[schemars(required, with = "Glob", extend("examples" = ["/usr/lib/tool/run"]))]
    pub path: Option<Str>,
    /// Package whose scripts make it. The lock file has it.
    #[schemars(required, extend("examples" = ["nginx"]))]
    pub package: Option<Str>,
    /// Reason to accept it.
    #[schemars(required, extend("examples" = ["its postinst unpacks it"]))]
    pub reason: Option<Str>,
}

/// A package archive of Debian's kind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "uri", "suites"]))]
pub struct Repository {
    /// Name of its files in the image: a-z, 0-9 and `-`.
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]*$"), extend("examples" = ["tools"]))]
    pub name: Option<Str>,
    /// URL of the archive.
    #[schemars(with = "Url", extend("examples" = ["https://example.org/tools"]))]
    pub uri: Option<Str>,
    /// Suites of the archive. One that ends with `/` is a path without components.
    #[schemars(extend("examples" = [["stable"]]))]
    pub suites: Vec<Str>,
    /// Components of the suites. Required unless all suites end with `/`.
    #[schemars(extend("examples" = [["main"]]))]
    pub components: Vec<Str>,
    /// OpenPGP key that signs the archive, armored or binary. Required unless `trusted`.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["files/tools.asc"]))]
    pub key: Option<Str>,
    /// Trust the archive without a signature. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub trusted: Option<Flag>,
    /// Keep the source configured in the image. Default: `true`.
    #[schemars(extend("examples" = [false]))]
    pub keep: Option<Flag>,
}

/// A repository of RPM packages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnfRepository {
    /// Name of its files in the image: a-z, 0-9 and `-`.
    #[schemars(
        required,
        regex(pattern = "^[a-z0-9][a-z0-9-]*$"),
        extend("examples" = ["tools"])
    )]
    pub name: Option<Str>,
    /// URL of the repository, which has a signed index.
    #[schemars(with = "Url", extend("examples" = ["https://example.org/tools/9"]))]
    pub uri: Option<Str>,
    /// OpenPGP key that signs the repository. Required unless `trusted`.
    #[schemars(with = "Option<HostPath>", extend("examples" = ["files/tools.asc"]))]
    pub key: Option<Str>,
    /// Trust the repository without a signature. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub trusted: Option<Flag>,
    /// Keep the repository configured in the image. Default: `true`.
    #[schemars(extend("examples" = [false]))]
    pub keep: Option<Flag>,
}
