//! What a crash can leave behind, and how it is ended.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Its name inside the run directory.
const RECORD: &str = "qemu.json";
/// A killed process is gone at once, unless the host's disk holds it up.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Which process runs the guest of a run directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    pid: i32,
    /// When it started, in clock ticks since boot: a process id is used again, this pair is not.
    started: u64,
}

/// Writes down the process, so that a later run can end it.
pub(super) fn record(run: &Path, pid: Pid) -> io::Result<()> {
    let Some(started) = started(pid) else {
        // It has ended already: there is nothing to be left over.
        return Ok(());
    };
    let record = Record {
        pid: pid.as_raw_nonzero().get(),
        started,
    };
    fs::write(run.join(RECORD), serde_json::to_vec(&record)?)
}

/// Ends the QEMU that a crashed karat has left behind in a run directory; `false` when there is none.
///
/// A process is only ended when it started when the record says, and works in that very directory.
///
/// # Errors
/// The record cannot be read, or the process cannot be ended.
pub fn end_leftover(run: &Path) -> io::Result<bool> {
    let text = match fs::read(run.join(RECORD)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // A record that was cut short by the crash names no process; the parent's death has ended that one already.
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
    // Looked at only now: what the descriptor means cannot change any more.
    if started(pid) != Some(record.started) || !works_in(pid, run)? {
        return Ok(false);
    }
    pidfd_send_signal(&process, Signal::KILL)?;
    let deadline = Instant::now() + GONE_WITHIN;
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

/// When a living process started. A zombie does not count.
fn started(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in parentheses may hold anything, also spaces and parentheses.
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
