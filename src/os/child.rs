//! Child processes that cannot outlive karat.

use std::ops::{Deref, DerefMut};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// A call of `program` by way of `setpriv` (util-linux), which makes the kernel send SIGKILL when karat's main thread
/// goes, however it goes, and then becomes the program. `setpriv` ends with 127 when there is no such program.
///
/// It has a process group of its own, so that Ctrl-C reaches karat alone, and nothing on stdin. Dropping the child
/// kills it.
#[must_use]
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// How long a killed child may take to be gone: one that writes to a slow disk is not interrupted.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child that is gone when this is dropped. One that was only told to die may still make the file that it was about to
/// make, after everybody else has cleaned up.
#[derive(Debug)]
pub struct Reaped(pub Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Neither fails unless it is gone already.
        let _ = self.0.start_kill();
        let started = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Deref for Reaped {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Reaped {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}
