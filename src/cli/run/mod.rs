//! `karat run`

mod console;
mod guest;
mod subject;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus as ProcessStatus, Stdio};
use std::time::Duration;

use clap::Args;
use miette::Diagnostic;
use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::console::Left;
use self::subject::Subject;
use super::shared::stdout::Stdout;
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExitStatus};
use crate::fetch::Cache;
use crate::machine::qemu::{self, Connections, Console, PortForward, QemuError, QemuMachine};
use crate::machine::{Machine as _, MachineError};
use crate::os::requirement::install_advice;
use crate::os::run_dir::RunDir;
use crate::size::size_argument;
use crate::ssh::ClientConfig;
use crate::ui::Ui;

/// Exit code when a signal ends the run before its command has ended.
const CANCELLED: u8 = 130;
/// Time in which `ssh` restores the terminal and ends after SIGTERM.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Boot a recorded image in a throw-away guest on this machine
///
/// The guest writes to an overlay that is deleted at the end; the image does not change. Processors, memory and firmware are
/// those of the image's template; a disk image file gets the defaults. The guest has access to the network, and is reached only
/// through ports of this machine's loopback address.
///
/// cloud-init in the image authorizes a key that exists only for this run. Without --ssh, --console or COMMAND, the guest runs
/// until Ctrl-C; `karat ssh` logs in from another terminal.
///
/// Exit codes: 0 the guest or its user ended the run, 1 the guest could not be started or died, 130 cancelled; with --ssh or a
/// COMMAND that of `ssh`, which is the command's, or 255 if the connection failed.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it; or a disk image file
    #[arg(value_name = "ID|CHANNEL|FILE")]
    image: String,

    /// Forward a TCP port of 127.0.0.1 to a port of the guest; may be repeated
    #[arg(long = "port", short, value_name = "HOST:GUEST")]
    ports: Vec<PortForward>,

    /// Open a shell in the guest; the guest ends with the shell
    #[arg(long, conflicts_with_all = ["console", "command"])]
    ssh: bool,

    /// Attach the serial console to this terminal, from the firmware on; Ctrl-] ends the guest
    #[arg(long, conflicts_with = "command")]
    console: bool,

    /// Number of virtual processors instead of the template's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,

    /// Memory instead of the template's, such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = size_argument)]
    memory: Option<u64>,

    /// Run the image even if it is revoked
    #[arg(long)]
    allow_revoked: bool,

    #[command(flatten)]
    store: StoreArgs,

    /// Command to run in the guest over SSH; its words are joined with spaces and read by the guest's shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Error, Diagnostic)]
enum RunError {
    #[error("cannot listen on port {} of 127.0.0.1", .0.host)]
    #[diagnostic(help("choose another port of this machine, as in `-p 18080:{}`", .0.guest))]
    Port(PortForward, #[source] io::Error),
    #[error("no login to {name} is possible: it has no cloud-init to authorize a key")]
    #[diagnostic(help("`karat run {reference} --console` attaches its serial console"))]
    NoLogin { name: String, reference: String },
    #[error("cannot log in to the guest")]
    #[diagnostic(help(
        "`karat run {reference} --console` shows its boot; an image without cloud-init, or for another platform, may accept no login"
    ))]
    NotReady {
        reference: String,
        source: Box<MachineError>,
    },
    #[error("cannot start `ssh`")]
    #[diagnostic(help("{}", install_advice(&["ssh"])))]
    Client(#[source] io::Error),
    #[error("cannot use a run directory in the cache")]
    #[diagnostic(help("free some space, or choose another cache directory with `KARAT_CACHE`"))]
    RunDirectory(#[source] io::Error),
    #[error("cannot connect to the guest's console")]
    Console(#[source] io::Error),
    #[error(transparent)]
    #[diagnostic(help("choose a smaller `karat run --memory`"))]
    Memory(QemuError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Qemu(#[from] QemuError),
}

impl ExitStatus for RunError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Port(..) => 2,
            _ => 1,
        }
    }
}

/// Runs the image. Returns the exit code.
pub(crate) async fn run(
    args: &RunArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<u8, CommandError> {
    let subject = Subject::find(args)?;
    require_free(&args.ports)?;
    if args.uses_client() {
        require_client()?;
    }
    let cache = Cache::of_user()?;
    let run = RunDir::create(&cache.runs()).map_err(RunError::RunDirectory)?;
    let launch = args.launch(&subject, &run, ui);
    let Some(launched) = cancel.run_until_cancelled(launch).await else {
        return Ok(CANCELLED);
    };
    let mut running = Running {
        machine: launched?,
        subject: &subject,
        run: &run,
        ui,
        cancel,
    };
    let ended = if args.console {
        running.console(out).await
    } else {
        running.with_login(args).await
    };
    running.machine.destroy().await;
    run.remove().map_err(RunError::RunDirectory)?;
    ended
}

/// Checks before anything is launched that the ports of this machine can be used.
fn require_free(ports: &[PortForward]) -> Result<(), RunError> {
    let listen = |forward: &PortForward| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, forward.host))
            .map_err(|error| RunError::Port(*forward, error))
    };
    // All at once, because two forwards cannot have the same port either.
    let listeners: Result<Vec<_>, _> = ports.iter().map(listen).collect();
    listeners.map(drop)
}

/// Checks before anything is launched that OpenSSH's client is installed.
fn require_client() -> Result<(), RunError> {
    let mut client = std::process::Command::new("ssh");
    client.arg("-V").stdin(Stdio::null()).stderr(Stdio::null());
    client.status().map(drop).map_err(RunError::Client)
}

impl RunArgs {
    fn uses_client(&self) -> bool {
        self.ssh || !self.command.is_empty()
    }

    /// Launches a guest from an overlay on the image.
    async fn launch(
        &self,
        subject: &Subject,
        run: &RunDir,
        ui: &Ui,
    ) -> Result<QemuMachine, CommandError> {
        let disk = subject.disk(run, ui).await?;
        let connections = Connections {
            open: true,
            forwards: self.ports.clone(),
            console: if self.console {
                Console::Socket
            } else {
                Console::Log
            },
        };
        let Subject { guest, ssh, .. } = subject;
        let launch = qemu::launch(guest, ssh, &connections, &disk, None, run.path(), ui);
        let machine = launch.await.map_err(|error| match error {
            QemuError::NoMemory { .. } => RunError::Memory(error),
            other => RunError::Qemu(other),
        });
        Ok(machine?)
    }
}

/// A guest that runs an image.
struct Running<'a> {
    machine: QemuMachine,
    subject: &'a Subject,
    run: &'a RunDir,
    ui: &'a Ui,
    cancel: &'a CancellationToken,
}

impl Running<'_> {
    /// Attaches the console until the user leaves it or the guest ends.
    async fn console(&self, out: &mut Stdout) -> Result<u8, CommandError> {
        let console = self.machine.connect_console().await;
        let console = console.map_err(RunError::Console)?;
        self.ui.note("serial console of the guest; Ctrl-] ends it");
        match console::attach(console, self.cancel, out).await? {
            Left::ByKey => Ok(0),
            Left::ByGuest => self.end().await,
            Left::Cancelled => Ok(CANCELLED),
        }
    }

    /// Waits for the guest's own end.
    async fn end(&self) -> Result<u8, CommandError> {
        self.machine.wait_for_end().await.map_err(RunError::from)?;
        self.ui.note("the guest has powered off");
        Ok(0)
    }

    /// Waits until the guest can be logged in to, then runs the command, or the shell, or waits for Ctrl-C.
    async fn with_login(&mut self, args: &RunArgs) -> Result<u8, CommandError> {
        let cancel = self.cancel;
        match cancel.run_until_cancelled(self.boot()).await {
            Some(booted) => booted?,
            None => return Ok(CANCELLED),
        }
        let Subject {
            name, reference, ..
        } = self.subject;
        let config = ClientConfig::write(self.machine.target(), name, self.run.path());
        let config = config.map_err(RunError::RunDirectory)?;
        if args.uses_client() {
            return Ok(self.client(&config, &args.command).await?);
        }
        self.ui.note(&format!("{name} ({reference}) is running"));
        self.ui.note(&format!("    karat ssh {}", self.run.id()));
        self.ui.note(&format!("    {}", config.command_line()));
        for PortForward { host, guest } in &args.ports {
            let line = format!("    127.0.0.1:{host} is port {guest} of the guest");
            self.ui.note(&line);
        }
        self.ui.note("Ctrl-C ends it");
        tokio::select! {
            ended = self.end() => ended,
            () = cancel.cancelled() => Ok(0),
        }
    }

    async fn boot(&mut self) -> Result<(), RunError> {
        let within = self.subject.ssh.timeout;
        let phase = self.ui.phase("boot the image");
        let booted = async {
            self.machine.wait_ready(within, self.ui).await?;
            self.machine.wait_booted(within, self.ui).await
        };
        booted.await.map_err(|error| RunError::NotReady {
            reference: self.subject.reference.clone(),
            source: Box::new(error),
        })?;
        let _took = phase.done();
        Ok(())
    }

    /// Runs OpenSSH's client on this terminal. Returns its exit code.
    async fn client(&self, config: &ClientConfig, command: &[OsString]) -> Result<u8, RunError> {
        let mut ssh = tokio::process::Command::from(config.command());
        // In karat's own process group, so that it may read the terminal.
        let mut child = ssh
            .args(command)
            .kill_on_drop(true)
            .spawn()
            .map_err(RunError::Client)?;
        tokio::select! {
            status = child.wait() => Ok(exit_code(status.map_err(RunError::Client)?)),
            () = self.cancel.cancelled() => {
                let pid = child.id().and_then(|id| i32::try_from(id).ok());
                if let Some(pid) = pid.and_then(Pid::from_raw) {
                    // Asked first, so that it restores the terminal. It may have ended a moment ago.
                    let _gone = kill_process(pid, Signal::TERM);
                }
                let _ended = tokio::time::timeout(CLIENT_TIMEOUT, child.wait()).await;
                Ok(CANCELLED)
            }
        }
    }
}

/// Returns the exit code of a program as a shell reports it.
fn exit_code(status: ProcessStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_found_before_a_launch() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = taken.local_addr().unwrap().port();
        let forward = PortForward { host, guest: 80 };
        let error = require_free(&[forward]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(&host.to_string()), "{error}");
        drop(taken);
        assert!(require_free(&[forward]).is_ok());
        assert!(
            require_free(&[forward, forward]).is_err(),
            "one port cannot be forwarded twice"
        );
    }

    #[test]
    fn a_command_that_a_signal_has_ended_has_the_code_of_a_shell() {
        for (raw, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (15, 143)] {
            assert_eq!(exit_code(ProcessStatus::from_raw(raw)), code);
        }
    }
}
