//! Package archives of the default base, and this host's clock against theirs.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Check, State};
use crate::base::bootstrap;
use crate::fetch::{FetchError, Probe, probe};
use crate::plan::Bootstrap;
use crate::time::Timestamp;
use crate::ui::text::{human_duration, join_causes};

/// Longest wait for an archive, so that all checks end within 5 s.
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(4);
/// Difference that no certificate or release file is refused for.
const MAX_CLOCK_DIFFERENCE: u64 = 5 * 60;

pub(super) async fn check(base: &Bootstrap, without_base: State) -> Vec<Check> {
    let files = match bootstrap::release_files(base) {
        Ok(files) => files,
        Err(error) => return vec![Check::error(without_base, "archive", &error)],
    };
    let answers = join_all(files.iter().map(|url| probe(url, ARCHIVE_TIMEOUT))).await;
    let now = Timestamp::now();
    let dates: Vec<_> = answers.iter().filter_map(server_time).collect();
    let mut checks: Vec<_> = files
        .iter()
        .zip(&answers)
        .map(|(url, answer)| archive(url, answer, without_base))
        .collect();
    checks.extend(clock(now, &dates));
    checks
}

fn archive(url: &str, answer: &Result<Probe, FetchError>, without_base: State) -> Check {
    match answer {
        Ok(Probe::Exists(_)) => Check::ok("archive", format!("{url} answers")),
        Ok(Probe::Missing) => {
            let help = "check the apt sources of this host, or set `base.bootstrap.mirror`";
            Check::problem(
                without_base,
                "archive",
                format!("{url} does not exist"),
                help,
            )
        }
        Err(error) => {
            let help = "check the network, and `http_proxy` and `https_proxy`, which karat uses; another archive can be set \
                        with `base.bootstrap.mirror`";
            Check::problem(without_base, "archive", join_causes(error, ": "), help)
        }
    }
}

fn server_time(answer: &Result<Probe, FetchError>) -> Option<Timestamp> {
    match answer {
        Ok(Probe::Exists(date)) => *date,
        _ => None,
    }
}

/// Compares this host's clock with the nearest of the servers' clocks; `None` if there are none.
fn clock(now: Timestamp, servers: &[Timestamp]) -> Option<Check> {
    let difference = |server: &Timestamp| now.seconds().abs_diff(server.seconds());
    let nearest = servers.iter().min_by_key(|server| difference(server))?;
    let difference = difference(nearest);
    if difference <= MAX_CLOCK_DIFFERENCE {
        return Some(Check::ok(
            "clock",
            format!("{now}, as the archives' clocks"),
        ));
    }
    let direction = if now > *nearest { "ahead of" } else { "behind" };
    let difference = human_duration(Duration::from_secs(difference));
    let text = format!("{now}, {difference} {direction} the archives' clocks");
    let help = "certificates and release files may count as expired: set the clock, for instance with `timedatectl set-ntp true`";
    Some(Check::problem(State::Warning, "clock", text, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_with_the_nearest_server() {
        let at = Timestamp::from_seconds;
        for (now, servers, state) in [
            (1000, &[][..], None),
            (1000, &[1000][..], Some(State::Ok)),
            (1000, &[800, 99_999][..], Some(State::Ok)),
            (1000, &[99_999][..], Some(State::Warning)),
            (99_999, &[1000][..], Some(State::Warning)),
        ] {
            let servers: Vec<_> = servers.iter().copied().map(at).collect();
            let check = clock(at(now), &servers);
            assert_eq!(check.map(|check| check.state), state, "{now} {servers:?}");
        }
    }
}
