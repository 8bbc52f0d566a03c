//! The `reboot` step: the machine restarts, and the step ends when it is back with a new boot id.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Context, ProvisionError, Tail, remote};
use crate::machine::Machine;
use crate::ssh::{Session, SshError};

const REBOOT: &str = include_str!("reboot.sh");
const AWAKE: &str = include_str!("awake.sh");

/// A question that takes longer than this is asked to a machine that is going down, or not up yet.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two questions; a reboot takes seconds.
const INTERVAL: Duration = Duration::from_millis(100);

/// Reboots the machine and waits for it, as long as `limit`.
pub(super) async fn run<M: Machine>(
    machine: &mut M,
    limit: Duration,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let begun = Instant::now();
    let before = awake(machine.session()).await?;
    let mut lines = Vec::new();
    let told = {
        let mut line = |text: &str| lines.push(text.to_owned());
        timeout(
            ANSWER,
            machine
                .session()
                .exec(&remote::sh(REBOOT, &[]), &[], &mut line),
        )
        .await
    };
    match told {
        // The order may come back with a failure because its session was ended first.
        Ok(Ok(exit)) if exit.code.is_some_and(|code| code != 0 && code < 128) => {
            let output = (!lines.is_empty()).then_some(Tail(lines));
            return Err(ProvisionError::Reboot { output });
        }
        _ => cx.ui.detail("the machine reboots"),
    }
    let left = limit.saturating_sub(begun.elapsed());
    match back(machine, left, |boot| boot != before.boot).await {
        Err(ProvisionError::NotBack { last, .. }) => {
            Err(ProvisionError::NotBack { after: limit, last })
        }
        result => result,
    }
}

/// Waits until the machine answers, is not going down, and its boot id is `wanted`; connects anew as often as that takes.
pub(super) async fn back<M: Machine>(
    machine: &mut M,
    limit: Duration,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), ProvisionError> {
    let end = Instant::now() + limit;
    let mut last = None;
    loop {
        match timeout(ANSWER, awake(machine.session())).await {
            Ok(Ok(awake)) if !awake.going_down && wanted(&awake.boot) => return Ok(()),
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
        sleep(INTERVAL).await;
    }
}

/// What a machine says about itself.
#[derive(PartialEq, Eq, Debug)]
struct Awake {
    boot: String,
    going_down: bool,
}

async fn awake(session: &Session) -> Result<Awake, SshError> {
    Ok(parse(&session.output(&remote::sh(AWAKE, &[])).await?))
}

fn parse(said: &str) -> Awake {
    let mut lines = said.lines();
    Awake {
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
                Awake {
                    boot: boot.to_owned(),
                    going_down
                },
                "{said:?}"
            );
        }
    }
}
