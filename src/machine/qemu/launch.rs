//! From a plan to a running process: programs, disk, seed, port.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::arguments::{DISK, Inputs, SEED, VARS, arguments, program};
use super::process::Process;
use super::seed::{LATER_STAGES, Seed};
use super::{QemuError, QemuMachine, accelerator, firmware};
use crate::disk;
use crate::machine::guest::{Keys, UserData};
use crate::plan::{self, Firmware};
use crate::ssh::Target;
use crate::time::Timestamp;
use crate::ui::Ui;

/// What QEMU says when another process has the port.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// Launches a guest from an overlay on `base`. The run directory is the caller's: it must exist, belong to this guest alone, and
/// be removed by the caller when the machine has ended and its disk is no longer needed.
///
/// The guest's clock starts at `clock`, else at this host's time.
///
/// Returns as soon as the process exists, so that a cancel always has something to destroy; then comes
/// [`QemuMachine::wait_ready`].
///
/// # Errors
/// A missing program or firmware, KVM that was asked for, a disk that cannot be made, no free port, or QEMU's own complaint.
pub async fn launch(
    plan: &plan::Qemu,
    ssh: &plan::Ssh,
    network: &plan::Network,
    base: &disk::BaseImage,
    clock: Option<Timestamp>,
    run: &Path,
    ui: &Ui,
) -> Result<QemuMachine, QemuError> {
    let (name, package) = program(plan.arch);
    let program = find(name).ok_or(QemuError::NoProgram {
        program: name,
        package,
    })?;
    find("setpriv").ok_or(QemuError::NoProgram {
        program: "setpriv",
        package: "util-linux",
    })?;
    let choice = accelerator::choose(plan.accelerator, plan.arch, &accelerator::Host::look())?;
    if let Some(note) = &choice.note {
        ui.note(note);
    }
    let run = canonical(run)?;
    let base = disk::BaseImage {
        path: canonical(&base.path)?,
        format: base.format.clone(),
    };
    let uefi = match plan.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => Some(firmware::find(plan.arch, Path::new("/"))?),
    };
    if let Some(uefi) = &uefi {
        let path = run.join(VARS);
        // Read and written rather than copied, which would also take over that the template is read-only.
        fs::read(&uefi.vars)
            .and_then(|bytes| fs::write(&path, bytes))
            .map_err(|source| QemuError::Prepare { path, source })?;
    }
    disk::overlay(&base, &run.join(DISK), plan.disk_size).await?;
    let keys = Keys::prepare(ssh, &run)?;
    let authorized: Vec<String> = keys.authorized.iter().cloned().collect();
    let seed = Seed {
        instance: &instance(),
        user_data: UserData {
            user: &ssh.user,
            authorized: &authorized,
            host_key_private: keys.host.private_openssh(),
            host_key_public: keys.host.public_line(),
            later_stages: LATER_STAGES,
        },
    };
    let path = run.join(SEED);
    seed.write(&path)
        .map_err(|source| QemuError::Prepare { path, source })?;

    let inputs = |port| Inputs {
        plan,
        open: network.open,
        clock,
        accelerator: choice.accelerator,
        base: &base,
        uefi: uefi.as_ref(),
        port,
    };
    let (process, port) = start(&program, &run, ssh.ports, |port| arguments(&inputs(port))).await?;
    let target = Target {
        address: "127.0.0.1".into(),
        port,
        user: ssh.user.clone(),
        auth: keys.auth,
        host_key: plan::HostKey::Key(keys.host.public_line().to_owned()),
        jump: None,
        proxy: None,
    };
    Ok(QemuMachine::new(
        process,
        target,
        keys.authorized,
        choice.accelerator,
        run,
    ))
}

/// Starts QEMU on a free port: one that it chooses itself, or the first of a range that it gets.
pub(super) async fn start(
    program: &Path,
    run: &Path,
    ports: Option<(u16, u16)>,
    arguments: impl Fn(u16) -> Vec<String>,
) -> Result<(Process, u16), QemuError> {
    let program = program.to_string_lossy();
    let Some((first, last)) = ports else {
        let mut process = Process::start(&program, &arguments(0), run).await?;
        let port = process.forwarded_port().await?;
        return Ok((process, port));
    };
    // Only QEMU's own attempt decides; between a look and that attempt another build could take the port.
    for port in first..=last {
        match Process::start(&program, &arguments(port), run).await {
            Ok(process) => return Ok((process, port)),
            Err(QemuError::EndedEarly { stderr, .. }) if stderr.contains(PORT_TAKEN) => {}
            Err(error) => return Err(error),
        }
    }
    Err(QemuError::NoPort { first, last })
}

/// A program on `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

fn canonical(path: &Path) -> Result<PathBuf, QemuError> {
    path.canonicalize().map_err(|source| QemuError::Prepare {
        path: path.to_owned(),
        source,
    })
}

/// cloud-init must see each boot as a new machine, also a second one from the same disk.
fn instance() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("karat-{:x}-{:x}", std::process::id(), now.as_nanos())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    use super::*;

    /// A QEMU that is a shell script: `$1` is the port.
    fn fake(directory: &Path, script: &str) -> PathBuf {
        let path = directory.join("qemu-system-fake");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    const ANSWERS: &str = "echo '{\"QMP\": {}}'; read -r line; echo '{\"return\": {}}'";

    fn port_argument(port: u16) -> Vec<String> {
        vec![port.to_string()]
    }

    #[tokio::test]
    async fn a_qemu_that_dies_at_once_is_told_with_its_stderr() {
        for (script, expected) in [
            (
                "echo 'no such machine' >&2; exit 3",
                "exited with code 3: no such machine",
            ),
            (
                "echo '{\"QMP\": {}}'; read -r line; echo 'cannot open disk' >&2; exit 1",
                "exited with code 1: cannot open disk",
            ),
            ("kill -SEGV $$", "was killed by signal 11"),
            (
                "head -c 9000 /dev/zero | tr '\\0' x >&2; echo the end >&2; exit 1",
                "xxxthe end",
            ),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let program = fake(directory.path(), script);
            let error = start(&program, directory.path(), Some((7, 7)), port_argument)
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{script}: {error}");
            assert!(error.len() < 4300, "only the end of stderr is kept");
        }
    }

    #[tokio::test]
    async fn the_next_port_is_tried_when_one_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let taken = "qemu: -netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1'";
        let script = format!(
            "[ \"$1\" -ge 22 ] || {{ echo \"{taken}\" >&2; exit 1; }}; {ANSWERS}; read -r line"
        );
        let program = fake(directory.path(), &script);
        let (process, port) = start(&program, directory.path(), Some((20, 25)), port_argument)
            .await
            .unwrap();
        assert_eq!(port, 22);
        drop(process);
        let full = start(&program, directory.path(), Some((10, 12)), port_argument).await;
        assert!(
            matches!(
                full,
                Err(QemuError::NoPort {
                    first: 10,
                    last: 12
                })
            ),
            "{full:?}"
        );
    }

    #[tokio::test]
    async fn a_qemu_that_ignores_quit_and_term_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!(
            "trap '' TERM; sleep 600 & echo $$ $! >{}; {ANSWERS}; while :; do sleep 1; done",
            pids.display()
        );
        let program = fake(directory.path(), &script);
        let (process, _) = start(&program, directory.path(), Some((7, 7)), port_argument)
            .await
            .unwrap();
        let mut death = process.death();
        let begin = Instant::now();
        process.end_by_force().await;
        assert!(
            begin.elapsed() < Duration::from_secs(8),
            "{:?}",
            begin.elapsed()
        );
        let waited = tokio::time::timeout(Duration::from_millis(100), death.wait()).await;
        assert!(
            waited.is_err(),
            "an end that is wanted is no death: {waited:?}"
        );
        for pid in fs::read_to_string(pids).unwrap().split_whitespace() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(
                stat.is_empty() || stat.contains(") Z "),
                "process {pid} is left over: {stat}"
            );
        }
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("missing");
        let error = start(&program, directory.path(), None, port_argument)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
