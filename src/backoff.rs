//! Growing pauses between tries.

use std::time::Duration;

/// Exponential backoff: each delay is `factor` times the one before, up to `cap`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    delay: Duration,
    factor: f64,
    cap: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, factor: f64, cap: Duration) -> Self {
        Self {
            delay: first,
            factor,
            cap,
        }
    }

    /// Returns the delay before the next try.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.delay.min(self.cap);
        self.delay = delay.mul_f64(self.factor).min(self.cap);
        delay
    }

    /// Returns a random part of the next delay ("full jitter"), so that callers that failed together do not return together.
    pub(crate) fn next_jittered(&mut self) -> Duration {
        self.next_delay().mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_secs(2), 1.5, Duration::from_secs(4));
        let delays: Vec<f64> = (0..4).map(|_| backoff.next_delay().as_secs_f64()).collect();
        assert_eq!(delays, [2.0, 3.0, 4.0, 4.0]);
    }
}
