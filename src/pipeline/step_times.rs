//! Times of the steps by the clock of the guest, which tell the step that changed a file.

use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::plan::{Action, Step};
use crate::scan::undeclared::StepTime;

/// Times of the steps that have run.
#[derive(Debug, Default)]
pub(super) struct StepTimes {
    /// The clock of the guest, read at an instant. `None` if its times tell nothing.
    clock: Option<(Instant, Duration)>,
    pub(super) steps: Vec<StepTime>,
}

impl StepTimes {
    /// Reads the clock of a guest. A reboot sets it back, so that the times of steps overlap; they tell nothing then.
    pub(super) async fn start<M: Machine>(machine: &M, steps: &[Step]) -> Self {
        let reboots = |step: &Step| match &step.action {
            Action::Reboot => true,
            Action::Shell(shell) => shell.expect_disconnect,
            _ => false,
        };
        let mut times = Self::default();
        if !steps.iter().any(reboots) {
            let asked = Instant::now();
            let answer = machine.session().output("date +%s.%N").await;
            let time = answer.ok().and_then(|answer| parse(&answer));
            times.clock = time.map(|time| (asked + asked.elapsed() / 2, time));
        }
        times
    }

    /// Adds a step that began at an instant and has just ended.
    pub(super) fn add(&mut self, step: &Step, began: Instant) {
        if let Some((read, time)) = self.clock {
            let at = |instant: Instant| time + instant.saturating_duration_since(read);
            self.steps.push(StepTime {
                step: step.name.clone(),
                from: at(began),
                until: at(Instant::now()),
            });
        }
    }
}

/// Parses seconds with nine decimals. A `date` without nanoseconds prints other text.
fn parse(text: &str) -> Option<Duration> {
    let (seconds, nanoseconds) = text.trim().split_once('.')?;
    (nanoseconds.len() == 9).then_some(())?;
    Some(Duration::new(
        seconds.parse().ok()?,
        nanoseconds.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_nanoseconds_is_none() {
        let time = Duration::new(1_700_000_000, 42);
        assert_eq!(parse("1700000000.000000042\n"), Some(time));
        for text in [
            "1700000000",
            "1700000000.%N",
            "1700000000.",
            "",
            "x.000000042",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
