//! Serial console of a guest, written to a file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use crate::ui::Ui;
use crate::ui::text::strip_controls;

/// Bytes read from the end of the log: twenty long lines.
const TAIL_BYTES: u64 = 16 << 10;
/// Number of lines that an error shows.
const TAIL_LINES: usize = 20;
/// Bytes of the console that go to the log of the build: many times a boot's messages.
const MAX_LOGGED_BYTES: u64 = 1 << 20;
/// Time between two looks at the last line.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Text of a Linux panic. Kernels whose pvpanic driver is missing or not yet loaded report a panic only here.
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// Bytes read per poll at most, so that a guest that floods its console costs little.
const MAX_POLL_BYTES: u64 = 256 << 10;

/// Returns the last lines, without escape sequences.
pub(super) fn tail(log: &Path) -> String {
    let lines = match last_bytes(log, TAIL_BYTES) {
        Ok(bytes) => plain_lines(&bytes),
        Err(error) => return format!("(the console log cannot be read: {error})"),
    };
    match &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        [] => "(nothing was written to the serial console)".into(),
        last => last.join("\n"),
    }
}

fn last_bytes(log: &Path, count: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(count);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Does `work`, and shows the last line of the console below the running phase meanwhile. After an error the whole console goes to
/// the log of the build.
pub(super) async fn shown<T, E>(
    console: Option<&Path>,
    ui: &Ui,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(console) = console else {
        return work.await;
    };
    let show = async {
        let mut last = String::new();
        loop {
            sleep(POLL_INTERVAL).await;
            let bytes = last_bytes(console, TAIL_BYTES).unwrap_or_default();
            let line = plain_lines(&bytes).pop().unwrap_or_default();
            if line != last {
                ui.status(&line);
                last = line;
            }
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = show => unreachable!("the loop has no end"),
    };
    if result.is_err() {
        let bytes = last_bytes(console, MAX_LOGGED_BYTES).unwrap_or_default();
        ui.console(&plain_lines(&bytes).join("\n"));
    }
    result
}

/// Returns the lines that are not empty, without escape sequences.
fn plain_lines(bytes: &[u8]) -> Vec<String> {
    let text = strip_controls(&String::from_utf8_lossy(bytes));
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
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
    use crate::ui::BuildInfo;
    use crate::ui::log_directory::{self, LogReader};

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

    #[tokio::test]
    async fn the_console_of_a_guest_that_was_not_reached_is_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let console = directory.path().join("console.log");
        fs::write(&console, "\u{1b}[32mbooting\u{1b}[0m\r\n\r\nlast line\r\n").unwrap();
        let info = BuildInfo {
            verb: "build",
            image: "web",
            template: Path::new("web.toml"),
        };
        let ui = Ui::default().begin_build(info, None, &directory.path().join("logs"));
        let phase = ui.phase("wait for SSH");
        for result in [Ok(()), Err(())] {
            assert_eq!(shown(Some(&console), &ui, async { result }).await, result);
        }
        drop(phase);
        ui.end_build(1, None);
        let logs = log_directory::list(&directory.path().join("logs")).unwrap();
        let reader = LogReader::open(&logs[0].path).unwrap();
        let text = io::read_to_string(reader).unwrap();
        assert_eq!(text.matches("console | booting\n").count(), 1, "{text}");
        assert_eq!(text.matches("console | last line\n").count(), 1, "{text}");
    }
}
