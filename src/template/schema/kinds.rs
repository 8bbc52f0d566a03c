//! Kinds of strings, for the JSON schema of templates. The values themselves stay strings, which `plan` checks.

#![expect(dead_code, reason = "only the schemas of these types are used")]

use schemars::JsonSchema;

/// Whole number and unit, not zero. An empty string stands for the default.
#[derive(JsonSchema)]
#[schemars(inline, title = "size", extend("pattern" = "^([0-9]+(B|KiB|MiB|GiB|TiB))?$"))]
pub(super) struct Size(String);

/// Whole numbers with units, largest first. An empty string stands for the default.
#[derive(JsonSchema)]
#[schemars(
    inline,
    title = "duration",
    extend("pattern" = "^(([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?|[0-9]+ms)$")
)]
pub(super) struct Duration(String);

/// SHA-256: 64 hex digits, with or without `sha256:` in front.
#[derive(JsonSchema)]
#[schemars(inline, title = "digest", extend("pattern" = "^(sha256:)?[0-9a-f]{64}$"))]
pub(super) struct Digest(String);

/// Path on the host: relative to the template's directory, absolute, or `~/...`.
#[derive(JsonSchema)]
#[schemars(inline, title = "host path", extend("minLength" = 1))]
pub(super) struct HostPath(String);

/// Absolute path in the guest.
#[derive(JsonSchema)]
#[schemars(inline, title = "guest path", extend("pattern" = "^/"))]
pub(super) struct GuestPath(String);

/// Absolute path in the guest; `*` matches within a name, `**` across names.
#[derive(JsonSchema)]
#[schemars(inline, title = "glob", extend("pattern" = "^/"))]
pub(super) struct Glob(String);

/// URL that karat fetches.
#[derive(JsonSchema)]
#[schemars(inline, title = "URL (`https`, `http`)", extend("pattern" = "^https?://"))]
pub(super) struct Url(String);

/// URL that karat fetches, or of a file on this host.
#[derive(JsonSchema)]
#[schemars(
    inline,
    title = "URL (`https`, `http`, `file`)",
    extend("pattern" = "^(https?|file)://")
)]
pub(super) struct FileUrl(String);
