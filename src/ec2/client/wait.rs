//! Waiting for what AWS completes after a call has returned.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{AwsError, Region};
use crate::backoff::Backoff;

/// Pause after the first look.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause between two looks. Most things take minutes, and AWS limits the rate of calls.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Time within which all of AWS knows a new resource. AWS names no figure, and says to back off for minutes ("Eventual
/// consistency in the Amazon EC2 API").
const CONSISTENCY_TIMEOUT: Duration = Duration::from_mins(1);

/// State of what is waited for.
#[derive(Debug)]
pub enum Poll<T> {
    Ready(T),
    /// Not ready, in this state.
    Pending(String),
    /// Failed for good, in this state, with the reason if AWS gives one.
    Failed(String, Option<String>),
}

impl Region {
    /// Polls until `what` is ready, has failed, or `within` is over.
    pub(super) async fn wait_for<T>(
        &self,
        what: String,
        within: Duration,
        mut poll: impl AsyncFnMut() -> Result<Poll<T>, AwsError>,
    ) -> Result<T, AwsError> {
        let begun = Instant::now();
        let mut backoff = Backoff::new(FIRST_PAUSE, 1.3, MAX_PAUSE);
        loop {
            let state = match eventually(&mut poll).await? {
                Poll::Ready(value) => return Ok(value),
                Poll::Pending(state) => state,
                Poll::Failed(state, reason) => {
                    return Err(AwsError::Failed {
                        what,
                        region: self.name.clone(),
                        state,
                        reason,
                    });
                }
            };
            if begun.elapsed() > within {
                return Err(AwsError::Slow {
                    what,
                    region: self.name.clone(),
                    state,
                    minutes: within.as_secs() / 60,
                });
            }
            sleep(backoff.next_delay()).await;
        }
    }
}

/// Repeats `attempt` while AWS does not know the resource it is about, for up to a minute after its creation.
pub async fn eventually<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, AwsError>,
) -> Result<T, AwsError> {
    let begun = Instant::now();
    let mut backoff = Backoff::new(FIRST_PAUSE / 4, 2.0, MAX_PAUSE);
    loop {
        match attempt().await {
            Err(error) if error.is_not_found() && begun.elapsed() < CONSISTENCY_TIMEOUT => {
                sleep(backoff.next_delay()).await;
            }
            done => return done,
        }
    }
}
