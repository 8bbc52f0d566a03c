//! The steps that were running when files changed.

use std::time::Duration;

use crate::disk::read::Time;

/// A step that ran, with the time by the clock of the guest, since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StepTime {
    /// Name of the step.
    pub step: String,
    pub from: Duration,
    pub until: Duration,
}

/// Returns the step that was running at a time.
pub(super) fn step_at(steps: &[StepTime], time: Time) -> Option<&str> {
    let seconds = u64::try_from(time.seconds).ok()?;
    let time = Duration::new(seconds, time.nanoseconds);
    let mut steps = steps.iter();
    let found = steps.find(|step| step.from <= time && time <= step.until)?;
    Some(&found.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_between_steps_tells_no_step() {
        let step = |step: &str, from, until| StepTime {
            step: step.to_owned(),
            from: Duration::from_millis(from),
            until: Duration::from_millis(until),
        };
        let steps = [step("one", 5_000, 6_500), step("two", 7_000, 9_000)];
        for (seconds, nanoseconds, expected) in [
            (4, 999_999_999, None),
            (5, 0, Some("one")),
            (6, 500_000_000, Some("one")),
            (6, 700_000_000, None),
            (8, 0, Some("two")),
            (9, 1, None),
            (-1, 0, None),
        ] {
            let time = Time {
                seconds,
                nanoseconds,
            };
            assert_eq!(step_at(&steps, time), expected, "{time:?}");
        }
    }
}
