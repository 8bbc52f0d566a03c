//! Log of one build: every event, also those that the screen does not show, compressed as it is written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::event::{Event, Kind};
use super::log_directory::{self, Record};
use super::text::strip_controls;

/// Text at the start of a log that is kept whole: some hundred thousand lines.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Text at the end of a longer log. It stays in memory until the build ends.
const MAX_TAIL_BYTES: usize = 256 << 10;
/// Time after which a line is on the disk, so that it is there after the process is killed.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
const COMPRESSION_LEVEL: i32 = 3;

/// The log of a build. The file appears when the first phase starts: a build that ends before has nothing to tell.
pub(super) struct BuildLog {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

enum State {
    /// Lines before the first phase.
    Waiting(String),
    Open(Box<Writer>),
    /// Writing has failed; the error is reported once.
    Broken(Option<io::Error>),
    Closed,
}

impl BuildLog {
    /// Prepares the log at `path`. Creates nothing.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Arc::new(Mutex::new(State::Waiting(String::new()))),
        }
    }

    /// Returns the path of the file, if it exists.
    pub(super) fn path(&self) -> Option<&Path> {
        matches!(*lock(&self.state), State::Open(_)).then_some(&self.path)
    }

    /// Writes an event. Returns an error once, and nothing is written after it.
    pub(super) fn write(&self, event: &Event<'_>) -> io::Result<()> {
        let Some(text) = event.logged() else {
            return Ok(());
        };
        let mut state = lock(&self.state);
        let lines = stamped(&event.time, &text);
        if let State::Waiting(before) = &mut *state {
            before.push_str(&lines);
            if event.kind != Kind::Started {
                return Ok(());
            }
            let lines = std::mem::take(before);
            *state = match self.open(&lines) {
                Ok(writer) => State::Open(Box::new(writer)),
                Err(error) => State::Broken(Some(error)),
            };
        } else if let State::Open(writer) = &mut *state {
            let written = writer.write(&lines);
            let flushed = match event.kind {
                Kind::Output | Kind::Console => written,
                _ => written.and_then(|()| writer.flush()),
            };
            if let Err(error) = flushed {
                *state = State::Broken(Some(error));
            }
        }
        match &mut *state {
            State::Broken(error) => error.take().map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }

    fn open(&self, lines: &str) -> io::Result<Writer> {
        let directory = self
            .path
            .parent()
            .expect("the path is in the directory of logs");
        log_directory::create(directory)?;
        log_directory::remove_old(directory);
        let mut writer = Writer::create(&self.path)?;
        writer.write(lines)?;
        writer.flush()?;
        flush_in_background(Arc::downgrade(&self.state));
        Ok(writer)
    }

    /// Completes the file, and writes the record of the build beside it.
    pub(super) fn finish(&self, record: &Record) -> io::Result<()> {
        let state = std::mem::replace(&mut *lock(&self.state), State::Closed);
        let State::Open(writer) = state else {
            return Ok(());
        };
        // The record comes first: while the writer holds its lock, the log counts as running and is not removed.
        let recorded = log_directory::write_record(&self.path, record);
        writer.finish().and(recorded)
    }
}

impl Drop for BuildLog {
    fn drop(&mut self) {
        // A dropped build has no record, and its log counts as stopped.
        if let State::Open(writer) = std::mem::replace(&mut *lock(&self.state), State::Closed) {
            let _ = writer.finish();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Flushes the log on a thread of its own until it is closed: a build that hangs writes no line that could do it.
fn flush_in_background(state: Weak<Mutex<State>>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(FLUSH_INTERVAL);
            let Some(state) = state.upgrade() else { return };
            let mut state = lock(&state);
            let State::Open(writer) = &mut *state else {
                return;
            };
            if let Err(error) = writer.flush() {
                *state = State::Broken(Some(error));
            }
        }
    });
}

/// Returns every line of a text with the time of day in front, and without control characters.
fn stamped(time: &str, text: &str) -> String {
    let clock = time.get(11..19).unwrap_or_default();
    let lines = text.split('\n');
    lines.fold(String::new(), |lines, line| {
        lines + clock + " " + &strip_controls(line) + "\n"
    })
}

struct Writer {
    encoder: zstd::Encoder<'static, File>,
    written: usize,
    is_flushed: bool,
    /// End of a text that is too long.
    tail: VecDeque<String>,
    tail_bytes: usize,
    left_out: usize,
}

impl Writer {
    fn create(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        // Held until the file is closed: a log in use is not removed. It has just been created, so no process waits for it.
        let _ = file.try_lock();
        Ok(Self {
            encoder: zstd::Encoder::new(file, COMPRESSION_LEVEL)?,
            written: 0,
            is_flushed: true,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out: 0,
        })
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        self.written += lines.len();
        if self.written > MAX_TEXT_BYTES {
            self.hold(lines);
            return Ok(());
        }
        self.is_flushed = false;
        self.encoder.write_all(lines.as_bytes())
    }

    fn hold(&mut self, lines: &str) {
        self.tail_bytes += lines.len();
        self.tail.push_back(lines.to_owned());
        while self.tail_bytes > MAX_TAIL_BYTES
            && let Some(first) = self.tail.pop_front()
        {
            self.tail_bytes -= first.len();
            self.left_out += first.matches('\n').count();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_flushed, true) {
            self.encoder.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.left_out > 0 {
            writeln!(self.encoder, "[{} lines left out]", self.left_out)?;
        }
        for lines in &self.tail {
            self.encoder.write_all(lines.as_bytes())?;
        }
        self.encoder.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, text: &str) -> Event<'_> {
        Event {
            time: "2026-11-30T12:34:56.789Z".to_owned(),
            ..Event::new(kind, text)
        }
    }

    fn text(log: &Path) -> String {
        let reader = log_directory::LogReader::open(log).unwrap();
        io::read_to_string(reader).unwrap()
    }

    fn record() -> Record {
        Record {
            verb: "build".to_owned(),
            template: "web.toml".into(),
            code: 1,
            took: 1.5,
            phases: vec![("base".to_owned(), 1.0)],
        }
    }

    #[test]
    fn a_log_is_readable_while_it_is_written_and_begins_with_the_first_phase() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch
            .path()
            .join("logs/20261130T123456Z-web-0123abcd.log.zst");
        let log = BuildLog::new(path.clone());
        log.write(&event(Kind::Note, "before")).unwrap();
        assert!(!path.exists() && log.path().is_none());
        log.write(&event(Kind::Started, "base")).unwrap();
        assert_eq!(text(&path), "12:34:56 before\n12:34:56 ==> base\n");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);

        log.write(&event(Kind::Output, "\u{1b}[31mred\u{1b}[0m\r"))
            .unwrap();
        let waited = std::time::Instant::now();
        while !text(&path).contains("    | red\n") {
            assert!(
                waited.elapsed() < Duration::from_secs(20),
                "{}",
                text(&path)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        log.write(&event(Kind::Error, "two\nlines")).unwrap();
        log.finish(&record()).unwrap();
        assert!(text(&path).ends_with("12:34:56 error: two\n12:34:56 lines\n"));
        log.write(&event(Kind::Note, "late")).unwrap();
        assert!(!text(&path).contains("late"));
    }

    #[test]
    fn the_end_of_a_log_that_is_too_long_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("20261130T123456Z-web-0123abcd.log.zst");
        let log = BuildLog::new(path.clone());
        log.write(&event(Kind::Started, "base")).unwrap();
        let line = "x".repeat(60_000);
        for _ in 0..MAX_TEXT_BYTES / 60_000 + 100 {
            log.write(&event(Kind::Output, &line)).unwrap();
        }
        log.write(&event(Kind::Failed, "base")).unwrap();
        log.finish(&record()).unwrap();
        let text = text(&path);
        assert!(text.len() < MAX_TEXT_BYTES + MAX_TAIL_BYTES + 100_000);
        assert!(text.contains(" lines left out]\n"));
        assert!(text.ends_with("    base: failed after 0.0 s\n"));
    }

    #[test]
    fn a_log_that_cannot_be_written_is_reported_once() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("logs"), "a file").unwrap();
        let log = BuildLog::new(
            scratch
                .path()
                .join("logs/20261130T123456Z-web-0123abcd.log.zst"),
        );
        assert!(log.write(&event(Kind::Started, "base")).is_err());
        log.write(&event(Kind::Done, "base")).unwrap();
        log.finish(&record()).unwrap();
        assert!(log.path().is_none());
    }

    #[test]
    fn a_full_disk_is_reported_once() {
        let log = BuildLog::new("/dev/full".into());
        let file = File::options().write(true).open("/dev/full").unwrap();
        *lock(&log.state) = State::Open(Box::new(Writer {
            encoder: zstd::Encoder::new(file, COMPRESSION_LEVEL).unwrap(),
            written: 0,
            is_flushed: true,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out: 0,
        }));
        let error = log.write(&event(Kind::Started, "base")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        log.write(&event(Kind::Done, "base")).unwrap();
    }
}
