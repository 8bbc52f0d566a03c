//! QEMU processes that a crashed karat has left behind.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::os::if_exists;

/// Name of the record in the run directory.
const RECORD: &str = "qemu.json";
/// Longest wait for the end of a killed process, which only the host's disk can delay.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Identity of the process that runs the guest of a run directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    pid: i32,
    /// Start time, in clock ticks since boot: process ids are reused, pairs of id and start time are not.
    started: u64,
}

/// Records the process, so that a later run can end it.
pub(super) fn record(run: &Path, pid: Pid) -> io::Result<()> {
    let Some(started) = started(pid) else {
        // It has ended already, so nothing can be left over.
        return Ok(());
    };
    let record = Record {
        pid: pid.as_raw_nonzero().get(),
        started,
    };
    fs::write(run.join(RECORD), serde_json::to_vec(&record)?)
}

/// Kills the QEMU that a crashed karat has left behind in a run directory. Returns whether there was one.
///
/// A process is killed only if its start time matches the record and its working directory is the run directory.
///
/// # Errors
/// The record cannot be read, or the process cannot be killed.
pub fn end_leftover(run: &Path) -> io::Result<bool> {
    let Some(text) = if_exists(fs::read(run.join(RECORD)))? else {
        return Ok(false);
    };
    // A record truncated by the crash names no process; that one has ended with its parent already.
    let Ok(record) = serde_json::from_slice::<Record>(&text) else {
        return Ok(false);
    };
    let Some(pid) = Pid::from_raw(record.pid) else {
        return Ok(false);
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    // Checked only now: from here on the descriptor refers to the same process.
    if started(pid) != Some(record.started) || !works_in(pid, run)? {
        return Ok(false);
    }
    pidfd_send_signal(&process, Signal::KILL)?;
    let deadline = Instant::now() + KILL_TIMEOUT;
    while started(pid) == Some(record.started) {
        if Instant::now() > deadline {
            let message = format!("QEMU (process {}) does not end", record.pid);
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

fn works_in(pid: Pid, run: &Path) -> io::Result<bool> {
    let run = run.canonicalize()?;
    Ok(fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).is_ok_and(|cwd| cwd == run))
}

/// Returns the start time of a living process; `None` for a zombie.
fn started(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may contain anything, even spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    match fields.first()? {
        &("Z" | "X") => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(cwd: &Path) -> Child {
        Command::new("sleep")
            .arg("60")
            .current_dir(cwd)
            .spawn()
            .unwrap()
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    #[test]
    fn only_the_recorded_process_in_its_directory_is_ended() {
        let run = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(!end_leftover(run.path()).unwrap(), "nothing was recorded");

        let mut ours = sleeper(run.path());
        record(run.path(), pid(&ours)).unwrap();
        assert!(end_leftover(run.path()).unwrap());
        assert!(!ours.wait().unwrap().success());
        assert!(!end_leftover(run.path()).unwrap(), "it is gone already");

        let mut stranger = sleeper(elsewhere.path());
        record(run.path(), pid(&stranger)).unwrap();
        assert!(!end_leftover(run.path()).unwrap(), "it works elsewhere");

        let mut later = sleeper(run.path());
        let wrong = Record {
            pid: pid(&later).as_raw_nonzero().get(),
            started: 1,
        };
        fs::write(run.path().join(RECORD), serde_json::to_vec(&wrong).unwrap()).unwrap();
        assert!(
            !end_leftover(run.path()).unwrap(),
            "it started at another time"
        );
        for child in [&mut stranger, &mut later] {
            assert!(
                child.try_wait().unwrap().is_none(),
                "a process that is not ours was ended"
            );
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fs::write(run.path().join(RECORD), "{\"pid\":").unwrap();
        assert!(!end_leftover(run.path()).unwrap(), "half a record");
    }
}
