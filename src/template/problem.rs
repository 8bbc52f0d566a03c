//! Errors in a template, with their place in its text.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::ui::report::{Position, Report};

/// Byte range in the template's text.
pub type Span = Range<usize>;

/// An error in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Message of the error.
    pub what: String,
    /// Place in the text; `None` for a missing table or a command-line argument.
    pub span: Option<Span>,
    /// Related places, each with a label.
    pub also: Vec<(Span, String)>,
    /// Advice for fixing the error.
    pub help: Option<String>,
}

impl Problem {
    /// Creates an error at a place in the text.
    #[must_use]
    pub fn at(span: Span, what: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            ..Self::nowhere(what)
        }
    }

    /// Creates an error without a place in the text.
    #[must_use]
    pub fn nowhere(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            span: None,
            also: Vec::new(),
            help: None,
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    #[must_use]
    pub fn and(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }
}

/// All errors of one template, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateErrors {
    /// Path of the template.
    pub path: PathBuf,
    /// Text of the template.
    pub text: String,
    /// Errors, at least one.
    pub problems: Vec<Problem>,
}

impl TemplateErrors {
    /// Sorts the errors by place; those without one come first.
    #[must_use]
    pub fn new(path: PathBuf, text: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        problems.dedup();
        Self {
            path,
            text,
            problems,
        }
    }

    /// Formats every error with file, line, a caret and advice.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let reports = self.reports(color).into_iter();
        let texts: Vec<String> = reports.filter_map(|report| report.rendered).collect();
        texts.join("\n\n")
    }

    /// Returns a report of every error. One without a place in the text is at its beginning.
    pub(crate) fn reports(&self, color: bool) -> Vec<Report> {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let path = self.path.display().to_string();
        let report = |problem: &Problem| {
            let start = problem.span.as_ref().map_or(0, |span| span.start);
            Report {
                text: problem.what.clone(),
                help: problem.help.clone(),
                position: Some(Position::of(&self.path, &self.text, start)),
                output: Vec::new(),
                rendered: Some(renderer.render(&[self.group(problem, &path)])),
            }
        };
        self.problems.iter().map(report).collect()
    }

    fn group<'a>(&'a self, problem: &'a Problem, path: &'a str) -> Group<'a> {
        let title = Level::ERROR.primary_title(problem.what.as_str());
        let group = match &problem.span {
            None => title.element(Origin::path(path)),
            Some(span) => {
                let also = problem.also.iter().map(|(span, label)| {
                    AnnotationKind::Context
                        .span(self.visible(span))
                        .label(label.as_str())
                });
                title.element(
                    Snippet::source(self.text.as_str())
                        .path(path)
                        .annotation(AnnotationKind::Primary.span(self.visible(span)))
                        .annotations(also),
                )
            }
        };
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }

    /// Returns the first line of a span: a caret under a whole multi-line string is less clear than one under its start.
    fn visible(&self, span: &Span) -> Span {
        let start = span.start.min(self.text.len());
        let end = span.end.clamp(start, self.text.len());
        let line = self.text[start..end].find('\n').unwrap_or(end - start);
        start..start + line
    }
}

impl fmt::Display for TemplateErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let errors = if count == 1 { "error" } else { "errors" };
        write!(f, "{} has {count} {errors}", self.path.display())
    }
}

impl std::error::Error for TemplateErrors {}

/// Suggests the most similar candidate as advice.
#[must_use]
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Returns the most similar candidate, if any is close enough.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let flat = word.replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&flat, &candidate.replace('-', "_"));
            (distance, candidate)
        })
        // A third of the word may differ: `disk-sise` matches `disk_size`, `cpu` matches `cpus`, `ram` matches nothing.
        .filter(|(distance, candidate)| *distance <= flat.len().max(candidate.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_near_miss_is_suggested() {
        let candidates = ["cpus", "disk_size", "memory"];
        for (word, expected) in [
            ("disk-sise", Some("did you mean `disk_size`?")),
            ("cpu", Some("did you mean `cpus`?")),
            ("ram", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(
                did_you_mean(word, candidates).as_deref(),
                expected,
                "{word:?}"
            );
        }
    }

    #[test]
    fn a_span_at_the_end_of_the_text_renders() {
        let problem = Problem::at(5..90, "broken").help("fix it");
        let errors = TemplateErrors::new("t.toml".into(), "a = [".into(), vec![problem]);
        insta::assert_snapshot!(errors.render(false), @r"
        error: broken
         --> t.toml:1:6
          |
        1 | a = [
          |      ^
          |
          = help: fix it
        ");
    }
}
