//! Output without a cursor: plain lines for logs, with the marks of CI services.

use std::sync::{Mutex, PoisonError};

use super::Printer;
use super::ci::Ci;
use super::event::{Event, Kind};
use super::text::human_size;
use super::{Paint, write_line};

/// Prints the text of each event.
pub(super) struct Plain {
    paint: Paint,
    ci: Ci,
    /// Phase whose output is folded. Sections do not nest, so phases inside another are not folded.
    folded: Mutex<Option<u64>>,
}

impl Plain {
    pub(super) fn new(paint: Paint, ci: Ci) -> Self {
        Self {
            paint,
            ci,
            folded: Mutex::new(None),
        }
    }

    /// Opens a section at the start of a phase. The phases of parallel builds overlap, and are not folded.
    fn open(&self, event: &Event<'_>) -> Option<String> {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        let id = event
            .id
            .filter(|_| event.job.is_none() && folded.is_none())?;
        let opened = self.ci.open(id, &event.labelled())?;
        *folded = Some(id);
        Some(opened)
    }

    fn close(&self, event: &Event<'_>) {
        let mut folded = self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = folded.take_if(|id| Some(*id) == event.id)
            && let Some(closed) = self.ci.close(id)
        {
            write_line(&closed);
        }
    }

    /// Returns what is printed of an event.
    fn text(&self, event: &Event<'_>) -> Option<String> {
        if event.kind == Kind::Bar {
            let size = event.total.map(|bytes| format!(" ({})", human_size(bytes)));
            return Some(format!(
                "    {}{}",
                event.labelled(),
                size.unwrap_or_default()
            ));
        }
        let text = event.plain()?;
        let rendered = event.report.and_then(|report| report.rendered.clone());
        let text = self.ci.inert(&rendered.unwrap_or(text));
        Some(match event.kind {
            Kind::Error => self.paint.prefix("31", &text, "error:"),
            Kind::Warning | Kind::Retry => self.paint.prefix("33", &text, "warning:"),
            _ => text,
        })
    }
}

impl Printer for Plain {
    fn print(&self, event: &Event<'_>) {
        let opened = (event.kind == Kind::Started).then(|| self.open(event));
        if let Some(text) = opened.flatten().or_else(|| self.text(event)) {
            write_line(&text);
        }
        match (event.kind, event.report) {
            (Kind::Done | Kind::Failed | Kind::Cancelled, _) => self.close(event),
            (Kind::Error, Some(report)) => {
                if let Some(line) = self.ci.annotation(event.text, report) {
                    write_line(&line);
                }
            }
            _ => {}
        }
    }
}
