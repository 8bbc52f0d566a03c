//! Runs `qemu-img` as a child that cannot outlive karat.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::DiskError;
use crate::os::child::{self, Reaped};
use crate::os::requirement::MissingPrograms;
use crate::os::tail::Tail;

/// Message of the C library for a full disk.
const NO_SPACE: &str = "No space left on device";

/// Command line of a call of `qemu-img`.
#[derive(Debug)]
pub(super) struct QemuImg {
    command: Command,
    action: &'static str,
    path: PathBuf,
}

impl QemuImg {
    /// Starts a call of the subcommand `action`; `path` names the image in messages.
    pub fn new(action: &'static str, path: &Path) -> Self {
        let mut command = child::command("qemu-img");
        command.arg(action);
        // Messages in one language, as errors quote them and tests read them.
        command.env("LC_ALL", "C");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            command,
            action,
            path: path.to_owned(),
        }
    }

    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(argument);
        self
    }

    pub fn args<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.command.args(arguments);
        self
    }
}

/// Runs a call and returns its stdout.
pub(super) async fn run(call: QemuImg) -> Result<String, DiskError> {
    let mut stdout = Vec::new();
    run_with(call, &mut |bytes| stdout.extend_from_slice(bytes)).await?;
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a call and passes its stdout on as it comes. Dropping the future kills the child.
pub(super) async fn run_with(
    mut call: QemuImg,
    output: &mut dyn FnMut(&[u8]),
) -> Result<(), DiskError> {
    let action = call.action;
    let failed = |source| DiskError::Run { action, source };
    let child = call.command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MissingPrograms(vec!["setpriv"]).into(),
        _ => failed(error),
    })?;
    let mut child = Reaped(child);
    let stdout = child.0.stdout.take().expect("it was piped");
    let stderr = child.0.stderr.take().expect("it was piped");
    let mut problem = Tail::default();
    let mut keep = |bytes: &[u8]| problem.push(bytes);
    tokio::try_join!(pump(stdout, output), pump(stderr, &mut keep)).map_err(failed)?;
    let status = child.0.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    // The exit code of setpriv for a missing program.
    if status.code() == Some(127) {
        return Err(MissingPrograms(vec!["qemu-img"]).into());
    }
    let (problem, path) = (problem.text(), call.path);
    if problem.contains(NO_SPACE) {
        return Err(DiskError::Full { action, path });
    }
    let problem = match problem.trim_start_matches("qemu-img: ") {
        "" => status.to_string(),
        said => said.to_owned(),
    };
    Err(DiskError::Failed {
        action,
        path,
        problem,
    })
}

async fn pump(mut from: impl AsyncRead + Unpin, to: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => to(&buffer[..length]),
        }
    }
}
