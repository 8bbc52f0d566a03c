//! Marks in the log of a CI service: folded phases, annotations of errors, and protection from commands in a guest's output.

use std::time::{SystemTime, UNIX_EPOCH};

use super::report::{Position, Report};
use super::text::strip_controls;

/// CI service that reads stdout and stderr.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ci {
    /// Another one, or none.
    #[default]
    None,
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
}

impl Ci {
    /// Returns the service that runs this process.
    #[must_use]
    pub fn of_environment() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| value == "true");
        if is_set("GITHUB_ACTIONS") {
            Self::GitHub
        } else if is_set("GITLAB_CI") {
            Self::GitLab
        } else {
            Self::None
        }
    }

    /// Returns a text, which may hold anything, without what the service would take for a command.
    ///
    /// GitHub's runner reads `::command::` at the start of a line, after spaces, and `##[command]` anywhere in a line.
    /// GitLab's marks need control characters.
    pub(crate) fn inert(self, text: &str) -> String {
        match self {
            Self::None => text.to_owned(),
            Self::GitLab => strip_controls(text),
            Self::GitHub => {
                let text = strip_controls(text).replace("##[", "# #[");
                let lines = text.split('\n').map(|line| {
                    let command = line.trim_start();
                    let indent = &line[..line.len() - command.len()];
                    match command.strip_prefix("::") {
                        Some(rest) => format!("{indent}: :{rest}"),
                        None => line.to_owned(),
                    }
                });
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Returns the line that opens a folded section, instead of `==> title`.
    pub(super) fn open(self, id: u64, title: &str) -> Option<String> {
        match self {
            Self::None => None,
            Self::GitHub => Some(format!("::group::{}", data(title))),
            Self::GitLab => {
                let title = strip_controls(title).replace('\n', " ");
                Some(format!(
                    "\u{1b}[0Ksection_start:{}:karat_{id}[collapsed=true]\r\u{1b}[0K==> {title}",
                    now()
                ))
            }
        }
    }

    /// Returns the line that closes a section.
    pub(super) fn close(self, id: u64) -> Option<String> {
        match self {
            Self::None => None,
            Self::GitHub => Some("::endgroup::".to_owned()),
            Self::GitLab => Some(format!(
                "\u{1b}[0Ksection_end:{}:karat_{id}\r\u{1b}[0K",
                now()
            )),
        }
    }

    /// Returns the line that shows an error in the service's own pages, at its line of the template.
    pub(super) fn annotation(self, text: &str, report: &Report) -> Option<String> {
        if self != Self::GitHub {
            return None;
        }
        let place =
            report
                .position
                .as_ref()
                .map_or_else(String::new, |Position { file, line, column }| {
                    let file = property(&file.to_string_lossy());
                    format!(" file={file},line={line},col={column}")
                });
        let help = report.help.iter();
        let text = help.fold(text.to_owned(), |text, help| {
            format!("{text}\nhelp: {help}")
        });
        Some(format!("::error{place}::{}", data(&text)))
    }
}

/// Escapes the text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
        // The runner reads the old form of a command anywhere in a line.
        .replace("##[", "# #[")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_output_is_a_command_of_github() {
        for text in [
            "::set-env name=PATH::/tmp",
            "  \t::add-path::/tmp",
            "fine\n::error::x",
            "fine\r::error::x",
            "\u{1b}[0m::stop-commands::x",
            "\u{7}::warning::x",
            "see ##[add-mask]x",
            "#\u{0}#[add-mask]x",
        ] {
            let inert = Ci::GitHub.inert(text);
            assert!(!inert.contains("##[") && !inert.contains('\r'), "{inert:?}");
            assert!(
                !inert.lines().any(|line| line.trim().starts_with("::")),
                "{inert:?}"
            );
        }
        assert_eq!(Ci::GitHub.inert("a::b\n c"), "a::b\n c");
    }

    #[test]
    fn no_line_of_output_is_a_section_of_gitlab() {
        let inert = Ci::GitLab.inert("\u{1b}[0Ksection_start:1:a\r\u{1b}[0Kx");
        assert_eq!(inert, "section_start:1:ax");
    }

    #[test]
    fn an_annotation_is_one_line_and_names_the_place() {
        let mut report = Report {
            position: Some(Position::of("a,b:c%.toml", "x\ny", 2)),
            ..Report::new("", "write\nit")
        };
        assert_eq!(
            Ci::GitHub.annotation("100%\nwrong", &report).unwrap(),
            "::error file=a%2Cb%3Ac%25.toml,line=2,col=1::100%25%0Awrong%0Ahelp: write%0Ait"
        );
        report.position = None;
        assert_eq!(
            Ci::GitHub.annotation("a", &report).unwrap(),
            "::error::a%0Ahelp: write%0Ait"
        );
        assert_eq!(Ci::GitLab.annotation("a", &report), None);
    }
}
