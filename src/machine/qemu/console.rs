//! Serial console of the guest, which QEMU writes to a file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes read from the end of the log: twenty long lines.
const TAIL_BYTES: u64 = 16 << 10;
/// Number of lines that an error shows.
const TAIL_LINES: usize = 20;
/// Text of a Linux panic. Kernels whose pvpanic driver is missing or not yet loaded report a panic only here.
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// Bytes read per poll at most, so that a guest that floods its console costs little.
const MAX_POLL_BYTES: u64 = 256 << 10;

/// Returns the last lines, without escape sequences.
pub(super) fn tail(log: &Path) -> String {
    let text = last_bytes(log).map_or_else(
        |error| format!("(the console log cannot be read: {error})"),
        |bytes| strip_controls(&String::from_utf8_lossy(&bytes)),
    );
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    match lines[lines.len().saturating_sub(TAIL_LINES)..] {
        [] => "(nothing was written to the serial console)".into(),
        ref last => last.join("\n"),
    }
}

fn last_bytes(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes escape sequences and control characters: a guest must not control the user's terminal.
fn strip_controls(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    // A control sequence ends with the first character from `@` to `~`.
                    while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
                } else {
                    chars.next();
                }
            }
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

/// Search of a growing console log for a kernel panic.
#[derive(Debug)]
pub(super) struct PanicWatch {
    log: PathBuf,
    read: u64,
    /// End of the text of the previous poll, in case the message is split in two.
    rest: Vec<u8>,
}

impl PanicWatch {
    pub fn new(log: PathBuf) -> Self {
        Self {
            log,
            read: 0,
            rest: Vec::new(),
        }
    }

    /// Returns whether the kernel has panicked since the previous poll.
    pub fn poll(&mut self) -> bool {
        // An unreadable log shows nothing; the other watches still work.
        self.new_bytes()
            .is_ok_and(|bytes| bytes.windows(PANIC.len()).any(|words| words == PANIC))
    }

    fn new_bytes(&mut self) -> io::Result<Vec<u8>> {
        let length = self.log.metadata()?.len();
        if length <= self.read {
            return Ok(Vec::new());
        }
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = std::mem::take(&mut self.rest);
        let kept = bytes.len() as u64;
        file.take(MAX_POLL_BYTES).read_to_end(&mut bytes)?;
        self.read += bytes.len() as u64 - kept;
        self.rest = bytes[bytes.len().saturating_sub(PANIC.len() - 1)..].to_vec();
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_tail_is_short_and_plain() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("console.log");
        assert!(tail(&log).contains("cannot be read"));
        fs::write(&log, "\r\n\r\n").unwrap();
        assert_eq!(tail(&log), "(nothing was written to the serial console)");
        fs::write(&log, "\u{1b}[0;32m  OK\u{1b}[0m one\r\n\u{1b}ctwo\u{7}\r\n").unwrap();
        assert_eq!(tail(&log), "  OK one\ntwo");
        let many: Vec<String> = (0..5000).map(|number| format!("line {number}")).collect();
        fs::write(&log, many.join("\n")).unwrap();
        assert_eq!(tail(&log).lines().count(), 20);
        assert!(tail(&log).ends_with("line 4999"));
    }

    #[test]
    fn a_panic_is_seen_once_also_when_it_comes_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("console.log");
        let mut watch = PanicWatch::new(log.clone());
        assert!(!watch.poll(), "no log yet");
        let mut file = fs::File::create(&log).unwrap();
        for (text, seen) in [
            ("booting\nKernel pa", false),
            ("nic - not syncing: VFS", true),
            (": cannot mount", false),
            ("", false),
        ] {
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(watch.poll(), seen, "after {text:?}");
        }
    }
}
