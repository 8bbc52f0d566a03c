//! `[network]`: what the guest may reach.

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Digest, Url};
use super::{Spanned, Str};
use crate::template::scalar::Flag;

/// Network access of the guest while it is provisioned. Default: sealed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Give the guest the host's whole network. The manifest then says `hermetic: false`. Excludes `allow`.
    /// Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub open: Option<Spanned<Flag>>,
    /// URLs that steps may fetch.
    #[schemars(extend("examples" = [[{"url": "https://example.org/packages/"}]]))]
    pub allow: Vec<Spanned<Allow>>,
    /// Consequence of a refused request of a step that succeeded: the step fails, or karat prints a warning.
    /// Default: `"fail"`.
    #[schemars(extend("enum" = ["fail", "warn"], "examples" = ["warn"]))]
    pub on_refused: Option<Str>,
}

/// One URL, or everything below it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table with `url`, as in { url = \"https://example.org/tool\", sha256 = \"...\" }"
)]
pub struct Allow {
    /// One file, or everything below a URL that ends with `/`. No login, no fragment; a prefix has no query.
    #[schemars(with = "Url", extend("examples" = ["https://example.org/tool.tar.gz"]))]
    pub url: Option<Str>,
    /// Digest of the file. karat fetches it before the guest starts. Not for a prefix. Default: not checked.
    #[schemars(
        with = "Option<Digest>",
        extend("examples" = ["b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"])
    )]
    pub sha256: Option<Str>,
}
