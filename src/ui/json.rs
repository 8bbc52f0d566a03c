//! Output for programs: one JSON object a line. `docs/reference/json-events.md` documents the events.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::event::{Event, Kind};
use super::{Printer, write_line};

/// Time between two `progress` events of a bar.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Prints one JSON object an event.
#[derive(Default)]
pub(super) struct Json {
    bars: Mutex<HashMap<u64, JsonBar>>,
}

struct JsonBar {
    label: String,
    bytes: u64,
    total: Option<u64>,
    printed: Instant,
}

impl Json {
    /// Counts the bytes of a bar. Its beginning, its end and one event a second are printed.
    fn progress(&self, event: &Event<'_>) {
        let Some(id) = event.id else { return };
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(id).or_insert_with(|| JsonBar {
            label: event.text.to_owned(),
            bytes: 0,
            total: event.total,
            printed: Instant::now(),
        });
        bar.bytes += event.bytes.unwrap_or_default();
        if event.kind == Kind::Advance && bar.printed.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        bar.printed = Instant::now();
        print(&Event {
            kind: Kind::Progress,
            text: &bar.label,
            bytes: Some(bar.bytes),
            total: bar.total,
            ..event.clone()
        });
        if event.kind == Kind::BarEnd {
            bars.remove(&id);
        }
    }
}

impl Printer for Json {
    fn print(&self, event: &Event<'_>) {
        match event.kind {
            Kind::Bar | Kind::Advance | Kind::BarEnd => self.progress(event),
            Kind::Status | Kind::Console => {}
            _ => print(event),
        }
    }
}

fn print(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        // In strings only, where it means the same. GitHub's runner would read `##[command]` anywhere in a line.
        write_line(&line.replace("##[", "#\\u0023["));
    }
}
