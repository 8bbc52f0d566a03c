//! Backoff, and which calls are retried. Calls back off exponentially with full jitter, as the AWS Architecture Blog describes it
//! ("Exponential Backoff And Jitter"), up to the SDKs' longest pause.

use std::time::Duration;

use crate::backoff::Backoff;

/// Longest first pause of a call.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause of a call: the SDKs' limit in their standard mode.
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// Time after its first attempt at which a call is given up.
pub(super) const RETRY_TIMEOUT: Duration = Duration::from_mins(2);

/// Failures after which a call is sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Retry {
    /// All transient ones: the call changes nothing, or AWS carries it out once however often it comes.
    Transient,
    /// Those that guarantee that nothing was done.
    NotCarriedOut,
}

/// Returns the backoff of a call that failed.
pub(super) fn call_backoff() -> Backoff {
    Backoff::new(FIRST_PAUSE, 2.0, MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for (failures, most) in [(0, 100), (1, 200), (5, 3200), (9, 20_000), (60, 20_000)] {
            let mut backoff = call_backoff();
            for _ in 0..failures {
                backoff.next_delay();
            }
            let some: Vec<_> = (0..200).map(|_| { backoff }.next_jittered()).collect();
            assert!(
                some.iter()
                    .all(|pause| *pause <= Duration::from_millis(most))
            );
            let middle = Duration::from_millis(most / 2);
            assert!(
                some.iter().any(|pause| *pause > middle)
                    && some.iter().any(|pause| *pause < middle)
            );
        }
    }
}
