//! Percent encoding of paths in URLs.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The path percent-encode set of the URL standard, and `%` and `+`: some servers take `+` for a space.
const RESERVED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Encodes a path below a URL. Slashes stay.
pub(crate) fn encode(path: &str) -> String {
    utf8_percent_encode(path, RESERVED).to_string()
}
