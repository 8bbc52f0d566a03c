//! Output on a terminal: a spinner with a clock for each running step, a bar where the size is known, the last lines of the
//! step's output.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::event::{Event, Kind};
use super::text::{clock, human_duration, strip_controls};
use super::{Paint, Printer};

/// Lines of output shown below a running step.
const SHOWN_LINES: usize = 3;
/// Lines of output shown when a step has failed.
const TAIL_LINES: usize = 20;
/// Shorter usual durations are not worth showing.
const MIN_USUAL: Duration = Duration::from_secs(2);

/// Time between redraws: half a second looks dead, a sixtieth costs CPU.
const TICK_INTERVAL: Duration = Duration::from_millis(120);

pub(super) struct Terminal {
    screen: MultiProgress,
    paint: Paint,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bars: HashMap<u64, ProgressBar>,
    /// Running step of each build.
    running: HashMap<Option<String>, Running>,
}

struct Running {
    id: Option<u64>,
    tail: VecDeque<String>,
    /// Line that stands below the step until the next one.
    status: Option<String>,
}

impl State {
    fn clear(&mut self, id: Option<u64>) {
        if let Some(bar) = id.and_then(|id| self.bars.remove(&id)) {
            bar.finish_and_clear();
        }
    }

    fn running(&mut self, event: &Event<'_>) -> Option<&mut Running> {
        self.running.get_mut(&event.build.map(str::to_owned))
    }
}

impl Terminal {
    pub(super) fn new(paint: Paint) -> Self {
        Self {
            screen: MultiProgress::new(),
            paint,
            state: Mutex::default(),
        }
    }

    fn line(&self, text: &str) {
        if self.screen.println(text).is_err() {
            eprintln!("{text}");
        }
    }

    fn alert(&self, code: &str, event: &Event<'_>) {
        if let Some(text) = event.report.and_then(|report| report.rendered.as_ref()) {
            return self.line(text);
        }
        let text = event.plain().unwrap_or_default();
        let kind = text.find(':').map_or(0, |colon| colon + 1);
        self.line(&self.paint.prefix(code, &text, &text[..kind]));
    }

    fn dim(&self, text: &str) -> String {
        self.paint.all("2", text)
    }

    fn start(&self, state: &mut State, event: &Event<'_>) {
        let Some(id) = event.id else { return };
        let bar = self.screen.add(ProgressBar::new_spinner());
        let usual = event.usual.filter(|usual| *usual >= MIN_USUAL);
        let usual = usual.map_or_else(String::new, |usual| format!(" (usually {})", clock(usual)));
        let paint = self.paint;
        let style = ProgressStyle::with_template("{spinner} {prefix}  {clock}{msg}")
            .expect("the template is a constant")
            .with_key(
                "clock",
                move |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                    let text = clock(state.elapsed()) + &usual;
                    // Writing to indicatif's buffer cannot fail.
                    let _ = to.write_str(&paint.all("2", &text));
                },
            );
        bar.set_style(style);
        bar.set_prefix(event.labelled());
        bar.enable_steady_tick(TICK_INTERVAL);
        state.bars.insert(id, bar);
        let running = Running {
            id: Some(id),
            tail: VecDeque::new(),
            status: None,
        };
        state
            .running
            .insert(event.build.map(str::to_owned), running);
    }

    fn finish(&self, state: &mut State, event: &Event<'_>) {
        state.clear(event.id);
        let is_this = |running: &Running| running.id == event.id;
        let key = event.build.map(str::to_owned);
        let ended = match state.running.get(&key) {
            Some(running) if is_this(running) => state.running.remove(&key),
            _ => None,
        };
        let mark = match event.kind {
            Kind::Done => self.paint.all("32", "✓"),
            _ => self.paint.all("31", "✗"),
        };
        let took = human_duration(event.took.unwrap_or_default());
        self.line(&format!("{mark} {}  {}", event.labelled(), self.dim(&took)));
        if event.kind == Kind::Failed {
            for line in ended.iter().flat_map(|running| &running.tail) {
                self.line(&self.dim(&format!("    {line}")));
            }
        }
    }

    fn add_bar(&self, state: &mut State, event: &Event<'_>) {
        let Some(id) = event.id else { return };
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
        state.bars.insert(id, bar);
    }

    fn output(&self, state: &mut State, event: &Event<'_>) {
        let Some(running) = state.running(event) else {
            return self.line(&format!("  {}", strip_controls(&event.labelled())));
        };
        let text = strip_controls(event.text).replace('\t', "    ");
        if event.kind == Kind::Status {
            running.status = Some(text);
        } else {
            if running.tail.len() == TAIL_LINES {
                running.tail.pop_front();
            }
            running.tail.push_back(text);
            running.status = None;
        }
        let hidden = running.tail.len().saturating_sub(SHOWN_LINES);
        let lines = running.tail.iter().skip(hidden).chain(&running.status);
        let shown = lines.fold(String::new(), |mut shown, line| {
            let line: String = line.chars().take(width()).collect();
            let _ = write!(shown, "\n    {}", self.dim(&line));
            shown
        });
        let id = running.id;
        if let Some(bar) = id.and_then(|id| state.bars.get(&id)) {
            bar.set_message(shown);
        }
    }
}

impl Printer for Terminal {
    fn print(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            Kind::Started => self.start(&mut state, event),
            Kind::Done | Kind::Failed | Kind::Cancelled => self.finish(&mut state, event),
            Kind::Bar => self.add_bar(&mut state, event),
            Kind::Advance => {
                if let Some(bar) = event.id.and_then(|id| state.bars.get(&id)) {
                    bar.inc(event.bytes.unwrap_or_default());
                }
            }
            Kind::BarEnd => state.clear(event.id),
            Kind::Output | Kind::Status => self.output(&mut state, event),
            Kind::Warning => self.alert("33", event),
            Kind::Retry => {
                self.alert("33", event);
                // The next try has its own output.
                if let Some(running) = state.running(event) {
                    running.tail.clear();
                }
            }
            Kind::Error => self.alert("31", event),
            _ => {
                if let Some(text) = event.plain() {
                    self.line(&text);
                }
            }
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
