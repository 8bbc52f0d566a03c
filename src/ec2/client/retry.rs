//! How often a call is tried, and how long between: exponential with full jitter, as the AWS Architecture Blog has it
//! ("Exponential Backoff And Jitter"), with the SDKs' longest pause.

use std::time::Duration;

/// The first pause is at most this long.
const FIRST: Duration = Duration::from_millis(100);
/// No pause is longer: the SDKs' limit in their standard mode.
const LONGEST: Duration = Duration::from_secs(20);
/// A call is given up once so much time went by since it was first sent.
pub(super) const BUDGET: Duration = Duration::from_mins(2);

/// Which failures let a call be sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Again {
    /// All that may pass: it changes nothing, or carries what makes it happen once.
    Passing,
    /// Only those which say that nothing was done.
    Refused,
}

/// The pause before the next try, after so many failures.
pub(super) fn pause(failures: u32) -> Duration {
    let most = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for (failures, most) in [(0, 100), (1, 200), (5, 3200), (9, 20_000), (60, 20_000)] {
            let some: Vec<_> = (0..200).map(|_| pause(failures)).collect();
            assert!(some.iter().all(|it| *it <= Duration::from_millis(most)));
            let middle = Duration::from_millis(most / 2);
            assert!(some.iter().any(|it| *it > middle) && some.iter().any(|it| *it < middle));
        }
    }
}
