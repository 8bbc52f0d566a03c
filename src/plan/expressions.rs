//! Warnings of Packer's expressions in commands, which a shell refuses.

use super::lint::LintWarning;
use super::{Action, Plan, Script, Step};
use crate::template::packer::{hcl_advice, hcl_expressions};

impl Plan {
    /// Returns a warning of each step or test with an expression such as `${var.region}`, which karat passes to the shell.
    pub(super) fn unevaluated_expressions(&self) -> Vec<LintWarning> {
        let steps = self.steps.iter().chain(&self.on_error);
        let steps =
            steps.map(|step| (format!("step `{}`", step.name), commands(step), &step.place));
        let tests = self.tests.iter();
        let tests = tests.map(|test| {
            (
                format!("test `{}`", test.name),
                test.command.clone(),
                &test.place,
            )
        });
        let warnings = steps.chain(tests).filter_map(|(part, text, place)| {
            let found = &text[hcl_expressions(&text).next()?];
            Some(LintWarning {
                what: format!(
                    "`{found}` in {part} is an expression of HCL, which karat does not evaluate"
                ),
                help: hcl_advice(found),
                position: Some(place.position(&self.template, None)),
            })
        });
        warnings.collect()
    }
}

/// Returns the commands that the template has for a step, and the values of its variables.
fn commands(step: &Step) -> String {
    let Action::Shell(shell) = &step.action else {
        return String::new();
    };
    let lines = match &shell.script {
        Script::Inline(lines) => lines.as_slice(),
        Script::Path(_) => &[],
    };
    let texts = lines.iter().chain(shell.environment.values());
    let texts: Vec<String> = texts.map(ToString::to_string).collect();
    texts.join("\n")
}
