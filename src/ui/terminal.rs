//! A screen with a cursor: one line per step with a spinner, a bar where a size is known, the last lines of the step's output.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Printer;
use super::event::{Event, human};

/// Output lines kept below a running step.
const TAIL: usize = 3;

/// Redraws twice a second would look dead and sixty times would cost CPU.
const TICK: Duration = Duration::from_millis(120);

pub(super) struct Terminal {
    screen: MultiProgress,
    color: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bars: HashMap<u64, ProgressBar>,
    /// The running step of each job, with the last lines it wrote.
    running: HashMap<Option<String>, (u64, String, Vec<String>)>,
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
        bar.enable_steady_tick(TICK);
        state.bars.insert(event.id, bar);
        state.running.insert(
            event.job.map(str::to_owned),
            (event.id, event.labelled(), Vec::new()),
        );
    }

    fn finish(&self, state: &mut State, event: &Event<'_>) {
        if let Some(bar) = state.bars.remove(&event.id) {
            bar.finish_and_clear();
        }
        state.running.retain(|_, (id, _, _)| *id != event.id);
        let mark = if event.kind == "done" {
            self.paint("32", "✓")
        } else {
            self.paint("31", "✗")
        };
        self.line(&format!(
            "{mark} {}  {}",
            event.labelled(),
            self.paint("2", &human(event.took.unwrap_or_default()))
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
        if tail.len() == TAIL {
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
            bar.set_message(shown.join(
                "
    ",
            ));
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
            "bar_end" => {
                if let Some(bar) = state.bars.remove(&event.id) {
                    bar.finish_and_clear();
                }
            }
            "output" => self.output(&mut state, event),
            "warning" => self.line(&format!(
                "{} {}",
                self.paint("33", "warning:"),
                event.labelled()
            )),
            "error" => self.line(&format!(
                "{} {}",
                self.paint("31", "error:"),
                event.labelled()
            )),
            _ => self.line(&event.labelled()),
        }
    }
}

/// Columns that a line of output may take; a wrapped line would break the redraw.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr())
        .map_or(80, |size| usize::from(size.ws_col))
        .saturating_sub(8)
        .max(20)
}
