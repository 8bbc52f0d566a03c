//! Retries with a pause.

use std::time::Duration;

use tokio::time::sleep;

/// Runs `attempt` until it succeeds, with up to `retries` retries and a `pause` before each try.
///
/// `again` gets each failure that is not the last and returns true if a retry may succeed. Returns the last error with the
/// number of tries.
pub(super) async fn retry<T, E>(
    retries: u32,
    pause: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
    mut again: impl FnMut(u32, &E) -> bool,
) -> Result<T, (u32, E)> {
    let mut tries = 0;
    loop {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        tries += 1;
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if tries > retries || !again(tries, &error) => return Err((tries, error)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Fails `failures` times, then succeeds; errors are numbered.
    async fn tried(failures: u32, retries: u32) -> (Result<u32, (u32, u32)>, Vec<u32>) {
        let (mut count, mut heard) = (0, Vec::new());
        let result = retry(
            retries,
            Duration::from_millis(1),
            async || {
                count += 1;
                if count > failures {
                    Ok(count)
                } else {
                    Err(count)
                }
            },
            |_, error| {
                heard.push(*error);
                true
            },
        )
        .await;
        (result, heard)
    }

    #[tokio::test]
    async fn it_is_tried_until_it_succeeds_or_the_last_error_is_reported() {
        for (failures, retries, result, heard) in [
            (0, 3, Ok(1), vec![]),
            (1, 3, Ok(2), vec![1]),
            (3, 3, Ok(4), vec![1, 2, 3]),
            (9, 2, Err((3, 3)), vec![1, 2]),
            (1, 0, Err((1, 1)), vec![]),
        ] {
            assert_eq!(
                tried(failures, retries).await,
                (result, heard),
                "{failures} failures, {retries} retries"
            );
        }
    }

    #[tokio::test]
    async fn a_failure_that_no_try_can_help_ends_it() {
        let result: Result<(), _> =
            retry(5, Duration::ZERO, async || Err("no"), |_, _| false).await;
        assert_eq!(result, Err((1, "no")));
    }

    #[tokio::test]
    async fn cancelling_in_the_pause_comes_back_at_once() {
        let begun = Instant::now();
        let long = retry(
            5,
            Duration::from_hours(1),
            async || Ok::<_, ()>(()),
            |_, ()| true,
        );
        let cancelled = tokio::time::timeout(Duration::from_millis(50), long).await;
        assert!(cancelled.is_err());
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
