//! What the user sees while something runs: on a terminal, as plain lines, or as JSON lines. Always stderr.

/// A handle on the user's screen. Cheap to clone; safe to use from any task.
#[derive(Clone, Default)]
pub struct Ui;

/// A bar for something whose size may be known. Vanishes when dropped.
pub struct Bar;

impl Ui {
    /// One plain fact worth a line.
    pub fn note(&self, text: &str) {
        eprintln!("{text}");
    }

    /// Something that did not stop the work and should be looked at.
    pub fn warn(&self, text: &str) {
        eprintln!("warning: {text}");
    }

    /// A detail, shown with `--verbose` only.
    pub fn detail(&self, _text: &str) {}

    /// A line of output of the running step.
    pub fn output(&self, line: &str) {
        eprintln!("    {line}");
    }

    /// Starts a bar, in bytes.
    #[must_use]
    pub fn bar(&self, _label: &str, _total: Option<u64>) -> Bar {
        Bar
    }
}

impl Bar {
    /// So many more bytes are done.
    pub fn advance(&self, _bytes: u64) {}
}
