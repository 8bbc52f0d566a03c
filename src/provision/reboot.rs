//! The `reboot` step restarts the machine and waits until it answers with a new boot id.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Context, ProvisionError, Tail, remote};
use crate::machine::Machine;
use crate::ssh::{Session, SshError};

const REBOOT: &str = include_str!("reboot.sh");
const AWAKE: &str = include_str!("awake.sh");

/// A machine that takes longer to answer is shutting down or still booting.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A reboot takes seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Reboots the machine and waits for it, at most `limit`.
pub(super) async fn run<M: Machine>(
    machine: &mut M,
    limit: Duration,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let begun = Instant::now();
    let before = boot_state(machine.session()).await?;
    let mut lines = Vec::new();
    let told = {
        let mut line = |text: &str| lines.push(text.to_owned());
        timeout(
            ANSWER_TIMEOUT,
            machine
                .session()
                .exec(&remote::sh(REBOOT, &[]), &[], &mut line),
        )
        .await
    };
    match told {
        // The command may report a failure because the reboot ended its session first.
        Ok(Ok(exit)) if exit.code.is_some_and(|code| code != 0 && code < 128) => {
            let output = (!lines.is_empty()).then_some(Tail(lines));
            return Err(ProvisionError::Reboot { output });
        }
        _ => cx.ui.detail("rebooting the machine"),
    }
    let left = limit.saturating_sub(begun.elapsed());
    match wait_until_back(machine, left, |boot| boot != before.boot).await {
        Err(ProvisionError::NotBack { last, .. }) => {
            Err(ProvisionError::NotBack { after: limit, last })
        }
        result => result,
    }
}

/// Waits, with reconnects, until the machine answers, is not shutting down and has a `wanted` boot id.
pub(super) async fn wait_until_back<M: Machine>(
    machine: &mut M,
    limit: Duration,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), ProvisionError> {
    let end = Instant::now() + limit;
    let mut last = None;
    loop {
        match timeout(ANSWER_TIMEOUT, boot_state(machine.session())).await {
            Ok(Ok(state)) if !state.going_down && wanted(&state.boot) => return Ok(()),
            Ok(Ok(_)) => {}
            _ => {
                let left = end.saturating_duration_since(Instant::now());
                match machine.reconnect(left).await {
                    Ok(()) => continue,
                    Err(error @ crate::machine::MachineError::Died(_)) => return Err(error.into()),
                    Err(error) => last = Some(Box::new(error)),
                }
            }
        }
        if Instant::now() >= end {
            return Err(ProvisionError::NotBack { after: limit, last });
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[derive(PartialEq, Eq, Debug)]
struct BootState {
    /// Boot id of the kernel.
    boot: String,
    going_down: bool,
}

async fn boot_state(session: &Session) -> Result<BootState, SshError> {
    Ok(parse(&session.output(&remote::sh(AWAKE, &[])).await?))
}

fn parse(output: &str) -> BootState {
    let mut lines = output.lines();
    BootState {
        boot: lines.next().unwrap_or_default().trim().to_owned(),
        going_down: lines.next().is_some_and(|state| state.trim() == "stopping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_whether_it_is_going_down() {
        for (said, boot, going_down) in [
            ("d3a1\nrunning\n", "d3a1", false),
            ("d3a1\ndegraded\n", "d3a1", false),
            ("d3a1\nstopping\n", "d3a1", true),
            ("d3a1\n", "d3a1", false),
        ] {
            assert_eq!(
                parse(said),
                BootState {
                    boot: boot.to_owned(),
                    going_down
                },
                "{said:?}"
            );
        }
    }
}
