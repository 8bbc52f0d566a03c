//! Launch of a guest: programs, disk, seed, host port.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::arguments::{DISK, Inputs, SEED, VARS, arguments};
use super::firmware::{self, Uefi};
use super::host_check::{find_qemu, require_memory};
use super::process::Process;
use super::seed::{LATER_STAGES, Seed};
use super::{Connections, Qemu, QemuError, QemuMachine, accelerator};
use crate::disk;
use crate::machine::guest::{Guest, Keys};
use crate::plan::{self, Firmware};
use crate::ssh::Target;
use crate::time::Timestamp;
use crate::ui::Ui;

/// QEMU's message when another process uses the port.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// Launches a guest from an overlay on `base`. The run directory must exist and belong to this guest alone; the caller removes
/// it once the machine has ended and its disk was read.
///
/// The guest's clock starts at `clock`, or else at this host's time.
///
/// Returns as soon as the process exists, so that a cancel always has something to destroy. [`QemuMachine::wait_ready`] comes
/// next.
///
/// # Errors
/// A program or firmware is missing, KVM is required and does not work, the disk cannot be created, no port is free, or QEMU fails.
pub async fn launch(
    plan: &plan::Qemu,
    ssh: &plan::Ssh,
    connections: &Connections,
    base: &disk::BaseImage,
    clock: Option<Timestamp>,
    run: &Path,
    ui: &Ui,
) -> Result<QemuMachine, QemuError> {
    let program = find_qemu(plan.arch)?;
    require_memory(plan)?;
    let choice = accelerator::choose(plan.accelerator, plan.arch, &accelerator::Host::detect())?;
    if let Some(note) = &choice.note {
        ui.note(note);
    }
    let run = canonical(run)?;
    let base = disk::BaseImage {
        path: canonical(&base.path)?,
        format: base.format.clone(),
    };
    let uefi = prepare_firmware(plan, &run)?;
    disk::overlay(&base, &run.join(DISK), plan.disk_size).await?;
    let keys = Keys::prepare(ssh, &run)?;
    write_seed(&keys, &ssh.user, &run)?;

    let inputs = |port| Inputs {
        plan,
        connections,
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
        host_key: keys.host_key(),
        auth: keys.auth,
        jump: None,
        proxy: None,
    };
    let qemu = Qemu {
        process,
        accelerator: choice.accelerator,
        run,
        is_split: false,
    };
    Ok(Guest::new(qemu, target, keys.authorized))
}

/// Finds the firmware, and gives the guest variables of its own.
fn prepare_firmware(plan: &plan::Qemu, run: &Path) -> Result<Option<Uefi>, QemuError> {
    if plan.firmware == Firmware::Bios {
        return Ok(None);
    }
    let uefi = firmware::find(plan.arch, Path::new("/"))?;
    let path = run.join(VARS);
    // Read and written rather than copied: a copy would be read-only like the template.
    fs::read(&uefi.vars)
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(|source| QemuError::Prepare { path, source })?;
    Ok(Some(uefi))
}

fn write_seed(keys: &Keys, user: &str, run: &Path) -> Result<(), QemuError> {
    let seed = Seed {
        instance: &new_instance_id(),
        user_data: keys.user_data(user, LATER_STAGES),
    };
    let path = run.join(SEED);
    seed.write(&path)
        .map_err(|source| QemuError::Prepare { path, source })
}

/// Starts QEMU on a free port: one that it chooses itself, or the first of a range that it can bind.
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
    // Only QEMU's own attempt decides: after a check, another build could still take the port.
    for port in first..=last {
        match Process::start(&program, &arguments(port), run).await {
            Ok(process) => return Ok((process, port)),
            Err(QemuError::EndedEarly { stderr, .. }) if stderr.contains(PORT_TAKEN) => {}
            Err(error) => return Err(error),
        }
    }
    Err(QemuError::NoPort { first, last })
}

fn canonical(path: &Path) -> Result<PathBuf, QemuError> {
    path.canonicalize().map_err(|source| QemuError::Prepare {
        path: path.to_owned(),
        source,
    })
}

/// Returns a unique instance id: cloud-init must treat each boot as a new machine, even a second one from the same disk.
fn new_instance_id() -> String {
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
