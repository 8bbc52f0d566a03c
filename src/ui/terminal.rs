//! Output on a terminal: a spinner for each running step, a bar where the size is known, the last lines of the step's output.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Printer;
use super::event::Event;
use super::text::human_duration;

/// Lines of output shown below a running step.
const TAIL_LINES: usize = 3;

/// Time between redraws: half a second looks dead, a sixtieth costs CPU.
const TICK_INTERVAL: Duration = Duration::from_millis(120);

pub(super) struct Terminal {
    screen: MultiProgress,
    color: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bars: HashMap<u64, ProgressBar>,
    /// Running step of each job: id, title, last lines of output.
    running: HashMap<Option<String>, (u64, String, Vec<String>)>,
}

impl State {
    fn clear(&mut self, id: u64) {
        if let Some(bar) = self.bars.remove(&id) {
            bar.finish_and_clear();
        }
    }
}

impl Terminal {
    pub(super) fn new(color: bool) -> Self {
        Self {
            screen: MultiProgress::new(),
            color,
            state: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        if self.screen.println(text).is_err() {
            eprintln!("{text}");
        }
    }

    fn alert(&self, code: &str, event: &Event<'_>) {
        let kind = self.paint(code, &format!("{}:", event.kind));
        self.line(&format!("{kind} {}", event.labelled()));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn start(&self, state: &mut State, event: &Event<'_>) {
        let bar = self.screen.add(ProgressBar::new_spinner());
        let style =
            ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant");
        bar.set_style(style);
        bar.set_message(event.labelled());
        bar.enable_steady_tick(TICK_INTERVAL);
        state.bars.insert(event.id, bar);
        state.running.insert(
            event.job.map(str::to_owned),
            (event.id, event.labelled(), Vec::new()),
        );
    }

    fn finish(&self, state: &mut State, event: &Event<'_>) {
        state.clear(event.id);
        state.running.retain(|_, (id, _, _)| *id != event.id);
        let mark = if event.kind == "done" {
            self.paint("32", "✓")
        } else {
            self.paint("31", "✗")
        };
        self.line(&format!(
            "{mark} {}  {}",
            event.labelled(),
            self.paint("2", &human_duration(event.took.unwrap_or_default()))
        ));
    }

    fn add_bar(&self, state: &mut State, event: &Event<'_>) {
        let bar = self.screen.add(ProgressBar::no_length());
        let shape = if event.total.is_some() {
            "  {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "  {msg} {bytes} {bytes_per_sec}"
        };
        bar.set_style(
            ProgressStyle::with_template(shape)
                .expect("the template is a constant")
                .progress_chars("=> "),
        );
        if let Some(total) = event.total {
            bar.set_length(total);
        }
        bar.set_message(event.labelled());
        state.bars.insert(event.id, bar);
    }

    fn output(&self, state: &mut State, event: &Event<'_>) {
        let Some((id, title, tail)) = state.running.get_mut(&event.job.map(str::to_owned)) else {
            return self.line(&format!("  {}", event.labelled()));
        };
        if tail.len() == TAIL_LINES {
            tail.remove(0);
        }
        let shown: String = event
            .text
            .chars()
            .filter(|c| !c.is_control())
            .take(width())
            .collect();
        tail.push(shown);
        if let Some(bar) = state.bars.get(id) {
            let lines = tail.iter().map(|line| self.paint("2", line));
            let shown: Vec<String> = std::iter::once(title.clone()).chain(lines).collect();
            bar.set_message(shown.join("\n    "));
        }
    }
}

impl Printer for Terminal {
    fn print(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            "started" => self.start(&mut state, event),
            "done" | "failed" => self.finish(&mut state, event),
            "bar" => self.add_bar(&mut state, event),
            "advance" => {
                if let Some(bar) = state.bars.get(&event.id) {
                    bar.inc(event.total.unwrap_or_default());
                }
            }
            "bar_end" => state.clear(event.id),
            "output" => self.output(&mut state, event),
            "warning" => self.alert("33", event),
            "error" => self.alert("31", event),
            _ => self.line(&event.labelled()),
        }
    }
}

/// Columns for a line of output; a wrapped line would break the redraw.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .map_or(80, |size| usize::from(size.ws_col))
        .saturating_sub(8)
        .max(20)
}
