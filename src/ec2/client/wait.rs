//! Waiting for what AWS does in its own time.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{AwsError, Region};

/// Between the first two looks.
const FIRST: Duration = Duration::from_secs(1);
/// Between any two looks at most: most things take minutes, and calls are counted.
const LONGEST: Duration = Duration::from_secs(5);
/// What was just made is known everywhere within this time; AWS names no figure, and says to back off for minutes
/// ("Eventual consistency in the Amazon EC2 API").
const KNOWN: Duration = Duration::from_mins(1);

/// What a look has shown.
#[derive(Debug)]
pub enum Poll<T> {
    /// It is ready.
    Ready(T),
    /// It is in this state, from which it goes on.
    Pending(String),
    /// It is in this state, from which it does not; AWS may say why.
    Failed(String, Option<String>),
}

impl Region {
    /// Looks until something is ready.
    ///
    /// # Errors
    /// A look failed, it has failed, or it took longer than `within`.
    pub(super) async fn wait_for<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Result<Poll<T>, AwsError>,
    ) -> Result<T, AwsError> {
        let begun = Instant::now();
        let mut pause = FIRST;
        loop {
            let state = match eventually(&mut look).await? {
                Poll::Ready(value) => return Ok(value),
                Poll::Pending(state) => state,
                Poll::Failed(state, because) => {
                    return Err(AwsError::Failed {
                        what: what.to_owned(),
                        region: self.name.clone(),
                        state,
                        because,
                    });
                }
            };
            if begun.elapsed() > within {
                return Err(AwsError::Slow {
                    what: what.to_owned(),
                    region: self.name.clone(),
                    state,
                    minutes: within.as_secs() / 60,
                });
            }
            sleep(pause).await;
            pause = pause.mul_f64(1.3).min(LONGEST);
        }
    }
}

/// Does `attempt` until what it is about is known.
///
/// # Errors
/// It failed otherwise, or is not known after a minute.
pub async fn eventually<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, AwsError>,
) -> Result<T, AwsError> {
    let begun = Instant::now();
    let mut pause = FIRST / 4;
    loop {
        match attempt().await {
            Err(error) if error.is_not_found() && begun.elapsed() < KNOWN => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST);
            }
            done => return done,
        }
    }
}
