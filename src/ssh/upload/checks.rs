//! How the far side checks what it has unpacked: shell text for it, made while the files are sent.

use crate::digest::Digest;
use crate::ssh::quote::quote_bytes;

/// From this size on, a process of its own is worth its start: OpenSSL hashes four times as fast as `sha256sum`.
const LARGE: u64 = 4 << 20;
/// From this size on, so are three more, for two processors.
const HUGE: u64 = 64 << 20;
/// Mode of the members that say it.
pub(super) const MODE: u32 = 0o600;

/// A stretch of a file that is hashed by itself.
pub(super) struct Part {
    pub(super) length: u64,
    pub(super) digest: Digest,
}

/// The lengths of a file's parts.
pub(super) fn lengths(size: u64) -> Vec<u64> {
    if size < HUGE {
        return vec![size];
    }
    // The first part goes through a pipe, since nothing else ends it: it takes as long as the rest when it is this much shorter.
    let first = size / 8 * 3;
    vec![first, size - first]
}

/// Digests of the files sent so far.
#[derive(Default)]
pub(super) struct Checks {
    /// Lines for `sha256sum --check`, which takes any number of files in one process.
    sums: Vec<u8>,
    /// Calls of shell functions, for one file each.
    calls: Vec<u8>,
}

impl Checks {
    pub(super) fn add(&mut self, name: &[u8], parts: &[Part]) {
        // Versions of sha256sum differ in how they read such names.
        let is_odd = name.iter().any(|byte| b"\\\n\r".contains(byte));
        match parts {
            [] => {}
            [only] if only.length < LARGE && !is_odd => {
                let start = format!("{}  ", only.digest.hex());
                self.sums.extend_from_slice(start.as_bytes());
                self.sums.extend_from_slice(name);
                self.sums.push(b'\n');
            }
            [only] => self.call(&format!("one {}", only.digest.hex()), name),
            [first, rest, ..] => {
                let (length, first, rest) = (first.length, first.digest.hex(), rest.digest.hex());
                self.call(&format!("two {length} {first} {rest}"), name);
            }
        }
    }

    fn call(&mut self, start: &str, name: &[u8]) {
        self.calls.extend_from_slice(start.as_bytes());
        self.calls.push(b' ');
        self.calls.extend_from_slice(&quote_bytes(name));
        self.calls.push(b'\n');
    }

    /// The members that end the archive. `checks` is the last one, so that it is there only when all the others are.
    pub(super) fn members(mut self) -> Vec<(&'static str, Vec<u8>)> {
        if self.sums.is_empty() {
            return vec![("checks", self.calls)];
        }
        self.calls.extend_from_slice(b"many\n");
        vec![("sums", self.sums), ("checks", self.calls)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_checked_together_and_others_alone() {
        let digest = Digest::of(b"");
        let hex = digest.hex();
        let text = |files: &[(&str, u64)]| {
            let mut checks = Checks::default();
            for (name, size) in files {
                let part = |length| Part { length, digest };
                let parts: Vec<Part> = lengths(*size).into_iter().map(part).collect();
                checks.add(name.as_bytes(), &parts);
            }
            checks
                .members()
                .into_iter()
                .map(|(name, text)| format!("{name}: {}", String::from_utf8(text).unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(text(&[]), ["checks: "]);
        assert_eq!(
            text(&[("g0/huge", 80 << 20)]),
            [format!("checks: two 31457280 {hex} {hex} g0/huge\n")]
        );
        assert_eq!(
            text(&[("g0/big", LARGE), ("g0/new\nline", 1)]),
            [format!(
                "checks: one {hex} g0/big\none {hex} 'g0/new\nline'\n"
            )]
        );
        assert_eq!(
            text(&[("g0/two words", 1), ("g0/big", LARGE), ("g1/it's", 2)]),
            [
                format!("sums: {hex}  g0/two words\n{hex}  g1/it's\n"),
                format!("checks: one {hex} g0/big\nmany\n"),
            ]
        );
    }
}
