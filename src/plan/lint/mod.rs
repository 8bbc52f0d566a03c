//! Warnings of what probably does not work, above all commands that a sealed guest makes fail, with what to write instead.

use std::fs;
use std::path::{Path, PathBuf};

use super::place::Place;
use super::{Action, Base, Builder, Plan, Script, Step};
use crate::record::lock::Manager;
use crate::secret::Text;
use crate::ui::report::Position;

mod doubts;
mod help;
mod need;
mod program;
mod shell;
#[cfg(test)]
mod tests;
mod url;

use need::{Need, needy_commands};

/// A part of the template that probably does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintWarning {
    /// The part and the reason.
    pub what: String,
    /// Text to write instead.
    pub help: String,
    /// Place of the part, if it is known.
    pub position: Option<Position>,
}

impl LintWarning {
    /// Returns a warning without a place.
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
            position: None,
        }
    }
}

/// A command of a step or test that a sealed guest makes fail.
struct FailingCommand {
    /// The command, and the step or test that has it.
    what: String,
    position: Position,
    need: Need,
}

impl Plan {
    /// Returns what probably does not work: values that a build refuses later, and commands of shell steps and tests that need
    /// the network if the guest has none. Reads the scripts of the steps, and the clock.
    #[must_use]
    pub fn lint(&self) -> Vec<LintWarning> {
        let mut warnings = self.doubts();
        warnings.extend(self.lint_network());
        warnings.extend(self.unevaluated_expressions());
        warnings
    }

    /// Returns a warning for each kind of command that needs the network, if the guest has none. Its help is for all commands
    /// of the kind together, so that the lines of one do not contradict those of another.
    fn lint_network(&self) -> Vec<LintWarning> {
        if self.network.open || matches!(self.builder, Builder::Host(_)) {
            return Vec::new();
        }
        let mut commands = self.failing_commands();
        self.drop_other_managers(&mut commands);
        let mut warnings = Vec::new();
        while let Some(first) = commands.first() {
            let topic = first.need.topic();
            let (group, others) = commands
                .into_iter()
                .partition(|command| command.need.topic() == topic);
            commands = others;
            warnings.extend(self.warning(&group));
        }
        warnings
    }

    fn warning(&self, group: &[FailingCommand]) -> Option<LintWarning> {
        let (first, others) = group.split_first()?;
        let mut places: Vec<String> = others
            .iter()
            .map(|command| short(&command.position))
            .collect();
        places.dedup();
        let more = match others.len() {
            0 => String::new(),
            1 => format!(" and 1 more command ({})", places.join(", ")),
            count => format!(" and {count} more commands ({})", places.join(", ")),
        };
        let needs: Vec<&Need> = group.iter().map(|command| &command.need).collect();
        Some(LintWarning {
            what: format!("{}{more}, but the guest has no network", first.what),
            help: help::of(self, &needs),
            position: Some(first.position.clone()),
        })
    }

    fn failing_commands(&self) -> Vec<FailingCommand> {
        let steps = self.steps.iter().chain(&self.on_error);
        let steps = steps.flat_map(|step| self.failing_in_step(step));
        let tests = self.tests.iter().flat_map(|test| {
            let found = needy_commands(&test.command, &self.network.allow).into_iter();
            found.map(|command| FailingCommand {
                what: format!("{} in test `{}`", command.what, test.name),
                position: test.place.position(&self.template, Some((0, command.line))),
                need: command.need,
            })
        });
        steps.chain(tests).collect()
    }

    fn failing_in_step(&self, step: &Step) -> Vec<FailingCommand> {
        let Action::Shell(shell) = &step.action else {
            return Vec::new();
        };
        let text = match &shell.script {
            // A script that cannot be read is reported when the step runs it.
            Script::Path(path) => fs::read_to_string(path).unwrap_or_default(),
            Script::Inline(lines) => {
                let lines: Vec<String> = lines.iter().map(Text::for_shell).collect();
                lines.join("\n")
            }
        };
        let found = needy_commands(&text, &self.network.allow).into_iter();
        let found = found.map(|command| FailingCommand {
            what: format!("{} in step `{}`", command.what, step.name),
            position: match &shell.script {
                Script::Path(path) => Position {
                    file: self.shown_path(path),
                    line: command.line + 1,
                    column: 1,
                },
                Script::Inline(lines) => {
                    let lines = lines.iter().map(ToString::to_string);
                    self.inline_position(&step.place, lines, command.line)
                }
            },
            need: command.need,
        });
        found.collect()
    }

    /// Returns the position of a line of an `inline` script in the template.
    fn inline_position(
        &self,
        place: &Place,
        strings: impl Iterator<Item = String>,
        mut line: usize,
    ) -> Position {
        for (index, string) in strings.enumerate() {
            let lines = string.matches('\n').count() + 1;
            if line < lines {
                return place.position(&self.template, Some((index, line)));
            }
            line -= lines;
        }
        place.position(&self.template, None)
    }

    /// Returns the path of a script as the user can open it: relative like that of the template.
    fn shown_path(&self, path: &Path) -> PathBuf {
        let written = self.sources.get(path).map(Path::new);
        let relative = written.filter(|written| written.is_relative() && !written.starts_with("~"));
        match (relative, self.template.path.parent()) {
            (Some(written), Some(directory)) => directory.join(written),
            _ => path.to_owned(),
        }
    }

    /// Drops the commands of package managers that the guest probably does not have, if there are commands of its own: a script
    /// for several distributions has both.
    fn drop_other_managers(&self, commands: &mut Vec<FailingCommand>) {
        let manager = |command: &FailingCommand| match command.need {
            Need::Packages { manager, .. } => Some(manager),
            _ => None,
        };
        let own = self
            .package_manager()
            .or_else(|| commands.iter().find_map(manager));
        let is_own =
            |command: &FailingCommand| manager(command).is_none_or(|other| Some(other) == own);
        if commands
            .iter()
            .any(|command| manager(command).is_some() && is_own(command))
        {
            commands.retain(is_own);
        }
    }

    /// Returns the package manager of the guest, if the template tells.
    fn package_manager(&self) -> Option<Manager> {
        let declared = self.packages.as_ref().map(|packages| packages.manager);
        let is_bootstrap = matches!(self.base, Some(Base::Bootstrap(_)));
        declared.or(is_bootstrap.then_some(Manager::Apt))
    }
}

impl Need {
    /// Returns what one help is about.
    fn topic(&self) -> &'static str {
        match self {
            Self::Packages {
                manager: Manager::Apt,
                ..
            } => "apt",
            Self::Packages {
                manager: Manager::Dnf,
                ..
            } => "dnf",
            Self::Refresh => "refresh",
            Self::Urls(_) => "urls",
            Self::Checkout(_) => "checkout",
            Self::Other(advice) => advice,
        }
    }
}

fn short(position: &Position) -> String {
    format!("{}:{}", position.file.display(), position.line)
}
