//! Generates the shell text by which the remote side checks the unpacked files.

use crate::digest::Digest;
use crate::ssh::quote::quote_bytes;

/// From this size on, starting a separate process pays off: OpenSSL hashes four times as fast as `sha256sum`.
const MIN_LARGE_BYTES: u64 = 4 << 20;
/// From this size on, hashing in two processes on two processors pays off.
const MIN_HUGE_BYTES: u64 = 64 << 20;
/// Mode of the check files.
pub(super) const MODE: u32 = 0o600;

/// A range of a file that is hashed separately.
pub(super) struct CheckedRange {
    pub(super) length: u64,
    pub(super) digest: Digest,
}

/// Returns the lengths of a file's ranges.
pub(super) fn lengths(size: u64) -> Vec<u64> {
    if size < MIN_HUGE_BYTES {
        return vec![size];
    }
    // The first range goes through a pipe that limits it. At this ratio both ranges take equally long.
    let first = size / 8 * 3;
    vec![first, size - first]
}

/// Digests of the files sent so far.
#[derive(Default)]
pub(super) struct Checks {
    /// Lines for `sha256sum --check`, which checks any number of files in one process.
    sums: Vec<u8>,
    /// Shell function calls, each for one file.
    calls: Vec<u8>,
}

impl Checks {
    pub(super) fn add(&mut self, name: &[u8], ranges: &[CheckedRange]) {
        // Versions of sha256sum differ in how they parse such names.
        let is_odd = name.iter().any(|byte| b"\\\n\r".contains(byte));
        match ranges {
            [] => {}
            [only] if only.length < MIN_LARGE_BYTES && !is_odd => {
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

    /// Returns the last members of the archive. `checks` comes last, so that it arrives only if all others have.
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
                let range = |length| CheckedRange { length, digest };
                let ranges: Vec<CheckedRange> = lengths(*size).into_iter().map(range).collect();
                checks.add(name.as_bytes(), &ranges);
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
            text(&[("g0/big", MIN_LARGE_BYTES), ("g0/new\nline", 1)]),
            [format!(
                "checks: one {hex} g0/big\none {hex} 'g0/new\nline'\n"
            )]
        );
        assert_eq!(
            text(&[
                ("g0/two words", 1),
                ("g0/big", MIN_LARGE_BYTES),
                ("g1/it's", 2)
            ]),
            [
                format!("sums: {hex}  g0/two words\n{hex}  g1/it's\n"),
                format!("checks: one {hex} g0/big\nmany\n"),
            ]
        );
    }
}
