//! Programs of the host, with their versions.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::process::Command;
use tokio::time::timeout;

use super::{Check, State};
use crate::base::bootstrap;
use crate::cli::version::first_version;
use crate::machine::qemu;
use crate::os::child;
use crate::os::requirement::{install_advice, requirement};
use crate::os::search_path::{find, find_system};
use crate::plan::Arch;

/// Longest wait for a program: a version takes milliseconds, on a busy host a second.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(3);

/// A program, where to look for it, and the state if it is missing.
type Wanted = (&'static str, fn(&str) -> Option<PathBuf>, State);

pub(super) async fn check(without_base: State) -> Vec<Check> {
    let checks = wanted(without_base)
        .into_iter()
        .map(|(name, find, state)| program(name, find(name), state));
    let (mut checks, namespaces) = tokio::join!(join_all(checks), namespaces(without_base));
    checks.extend(namespaces);
    checks
}

fn wanted(without_base: State) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = vec![
        (qemu::program(Arch::of_host()), find, State::Failed),
        ("qemu-img", find, State::Failed),
        ("setpriv", find, State::Failed),
    ];
    // Nothing is wrong with a host that lacks QEMU for other architectures.
    let others = [Arch::X86_64, Arch::Aarch64].map(qemu::program);
    for other in others {
        if other != wanted[0].0 && find(other).is_some() {
            wanted.push((other, find, State::Warning));
        }
    }
    for program in bootstrap::PROGRAMS {
        if !wanted.iter().any(|(name, ..)| *name == program) {
            wanted.push((program, find_system, without_base));
        }
    }
    if !rustix::process::geteuid().is_root() {
        wanted.push(("newuidmap", find_system, without_base));
    }
    wanted.push(("git", find, State::Warning));
    wanted
}

async fn program(name: &str, path: Option<PathBuf>, state: State) -> Check {
    let requirement = requirement(name);
    let purpose = &requirement.purpose;
    let Some(path) = path else {
        // `karat doctor` itself needs no mention.
        let help = install_advice(&[name]);
        let help = help.split(';').next().unwrap_or_default();
        return Check::problem(state, name, format!("not installed; {purpose}"), help);
    };
    let Some(argument) = &requirement.version else {
        return Check::ok(name, format!("installed; {purpose}"));
    };
    let mut command = Command::new(&path);
    command.arg(argument).env("LC_ALL", "C");
    match run(&mut command).await {
        Ok(output) => Check::ok(
            name,
            format!(
                "{}; {purpose}",
                first_version(&output).unwrap_or("unknown version")
            ),
        ),
        Err(problem) => {
            let text = format!("{} does not run: {problem}", path.display());
            Check::problem(state, name, text, "install its package again")
        }
    }
}

/// Makes the namespaces that a base is made in.
async fn namespaces(without_base: State) -> Option<Check> {
    // Both have a line of their own if they are missing.
    let (unshare, _) = (find_system("unshare")?, find("setpriv")?);
    let mut command = child::command(unshare.to_str()?);
    command.args(bootstrap::namespace_arguments()).arg("true");
    let Err(problem) = run(&mut command).await else {
        let text = "available; a base is made in them";
        return Some(Check::ok("namespaces", text));
    };
    let help = if rustix::process::geteuid().is_root() {
        "run the container with CAP_SYS_ADMIN, or build on a host"
    } else {
        "allow unprivileged user namespaces (on Ubuntu `sysctl kernel.apparmor_restrict_unprivileged_userns=0`), and give this \
         user a range of ids: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"$USER\"`"
    };
    let text = format!("cannot be made: {problem}");
    Some(Check::problem(without_base, "namespaces", text, help))
}

/// Runs a program and returns its output, or a short description of the problem.
async fn run(command: &mut Command) -> Result<String, String> {
    command
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null());
    let output = match timeout(PROGRAM_TIMEOUT, command.output()).await {
        Err(_) => return Err(format!("no end within {} s", PROGRAM_TIMEOUT.as_secs())),
        Ok(output) => output.map_err(|error| error.to_string())?,
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    if output.status.success() {
        return Ok(text);
    }
    let last = text.lines().last().unwrap_or_default();
    Err(format!("{}: {last}", output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_fails_or_hangs_is_told() {
        let failed = run(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).await;
        assert_eq!(failed.unwrap_err(), "exit status: 3: no");
        assert_eq!(
            run(Command::new("sh").args(["-c", "echo 1.2"]))
                .await
                .unwrap(),
            "1.2"
        );
        let hung = run(Command::new("sleep").arg("60")).await;
        assert_eq!(hung.unwrap_err(), "no end within 3 s");
    }
}
