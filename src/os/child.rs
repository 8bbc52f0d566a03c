//! Child processes that cannot outlive karat.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// Returns a command that runs `program` through `setpriv` (util-linux). `setpriv` makes the kernel send SIGKILL when
/// karat's main thread ends for any reason, and then executes the program. It exits with 127 if the program does not exist.
///
/// The child has its own process group, so that Ctrl-C reaches karat alone, and an empty stdin. Dropping it kills it.
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

/// Longest wait for a killed child: the kernel does not interrupt one that writes to a slow disk.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A child that is killed and reaped when dropped. A child that is only signalled may still create a file after the
/// clean-up.
#[derive(Debug)]
pub struct Reaped(pub Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.start_kill();
        let started = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && started.elapsed() < KILL_TIMEOUT {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
