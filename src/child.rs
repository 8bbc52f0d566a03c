//! Child processes that cannot outlive karat.

use std::ffi::OsStr;
use std::process::{Output, Stdio};

use tokio::process::Command;

/// How much of a failed child's stderr an error carries.
const TAIL: usize = 4096;

/// A command whose process has its own group (a Ctrl-C reaches karat alone, which then ends the child in order), is
/// killed when its handle is dropped, and is killed by the kernel when karat dies. `setpriv` (util-linux) asks the kernel
/// for the last and then becomes the program; doing so here would need unsafe code.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// The end of what a child wrote to stderr, with its exit status in front.
#[must_use]
pub fn complaint(output: &Output) -> String {
    let text = tail(&output.stderr);
    if text.is_empty() {
        output.status.to_string()
    } else {
        text
    }
}

/// The last 4 KiB of some text, trimmed.
#[must_use]
pub fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let start = text.ceil_char_boundary(text.len().saturating_sub(TAIL));
    text[start..].trim().to_owned()
}
