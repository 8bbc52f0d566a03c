//! Child processes that cannot outlive karat.

use std::process::Stdio;

use tokio::process::Command;

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
