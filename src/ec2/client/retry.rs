//! Backoff, and which calls are retried. Calls back off exponentially with full jitter, as the AWS Architecture Blog describes it
//! ("Exponential Backoff And Jitter"), up to the SDKs' longest pause.

use std::time::Duration;

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

/// Pauses that grow by a factor up to a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pause: Duration,
    factor: f64,
    limit: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, factor: f64, limit: Duration) -> Self {
        Self {
            pause: first,
            factor,
            limit,
        }
    }

    /// Backoff of a call that failed.
    pub(super) fn of_call() -> Self {
        Self::new(FIRST_PAUSE, 2.0, MAX_PAUSE)
    }

    /// Returns the next pause.
    pub(super) fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = pause.mul_f64(self.factor).min(self.limit);
        pause
    }

    /// Returns a random part of the next pause.
    pub(super) fn next_jittered(&mut self) -> Duration {
        self.next_pause().mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for (failures, most) in [(0, 100), (1, 200), (5, 3200), (9, 20_000), (60, 20_000)] {
            let mut backoff = Backoff::of_call();
            for _ in 0..failures {
                backoff.next_pause();
            }
            let some: Vec<_> = (0..200).map(|_| { backoff }.next_jittered()).collect();
            assert!(some.iter().all(|it| *it <= Duration::from_millis(most)));
            let middle = Duration::from_millis(most / 2);
            assert!(some.iter().any(|it| *it > middle) && some.iter().any(|it| *it < middle));
        }
    }
}
