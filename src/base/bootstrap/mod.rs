//! A Debian or Ubuntu base disk made from a package archive with mmdebstrap.
//!
//! Nothing is mounted on the host and no guest is booted: the tree is made in namespaces of its own, `mke2fs -d` turns it into a
//! file system, and karat writes partition table, EFI system partition and GRUB into the file. Then the disk is cleaned and
//! normalized like an image, so the same packages give the same bytes on any day and host.

mod child;
mod disk;
mod preflight;
mod recipe;
mod sources;

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use self::disk::Ids;
pub(crate) use self::preflight::SPACE;
use self::recipe::Recipe;
use crate::disk::{NormalizeError, normalize_raw};
use crate::os::file_lock::FileLock;
use crate::os::requirement::{MissingPrograms, install_advice, require_programs};
use crate::os::tail::said;
use crate::os::{atomic_file, hash_stream, search_path};
use crate::plan;
use crate::ui::Ui;
use crate::ui::report::Tail;
use crate::ui::text::human_size;

/// Programs that bootstrapping needs.
pub(crate) const PROGRAMS: [&str; 4] = ["mmdebstrap", "mke2fs", "unshare", "setpriv"];

/// Failure to bootstrap a base.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the message of a variant documents it")]
pub enum BootstrapError {
    #[error("cannot bootstrap {0:?}")]
    #[diagnostic(help("`base.bootstrap.distribution` is `debian` or `ubuntu`"))]
    Distribution(String),
    #[error("no apt source of this machine has {distribution} {suite}")]
    #[diagnostic(help(
        "name an archive with `base.bootstrap.mirror`, as a URL or as whole `deb` lines of a sources.list"
    ))]
    NoSources { distribution: String, suite: String },
    #[error("the archive's keyring {} is missing", path.display())]
    #[diagnostic(help("{}", install_advice(&[&format!("{distribution} keyring")])))]
    NoKeyring { path: PathBuf, distribution: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    MissingPrograms(#[from] MissingPrograms),
    /// The host cannot run programs of that architecture, in Debian's name.
    #[error(
        "this machine cannot run {arch} programs, which bootstrapping a base of that architecture needs"
    )]
    #[diagnostic(help("{}", install_advice(&["emulator of foreign programs"])))]
    ForeignArch { arch: &'static str },
    #[error("the archive {uri} has no suite `{suite}`")]
    #[diagnostic(help("{}", hint.as_deref().unwrap_or("check `suite` in [base.bootstrap], and the archive")))]
    NoSuite {
        uri: String,
        suite: String,
        /// The way to write a misspelt suite.
        hint: Option<String>,
    },
    #[error("the archive {uri} has no {arch} packages in suite `{suite}`")]
    #[diagnostic(help("name an archive that has them with `base.bootstrap.mirror`"))]
    NoArchitecture {
        uri: String,
        suite: String,
        arch: &'static str,
    },
    #[error("{} has {} of free space, and making a base takes at least {}", path.display(), human_size(*free), human_size(SPACE))]
    #[diagnostic(help("free some space, or choose another cache directory with KARAT_CACHE"))]
    NoSpace { path: PathBuf, free: u64 },
    #[error("cannot read this machine's apt sources")]
    #[diagnostic(help("name an archive with `base.bootstrap.mirror`"))]
    Sources(#[source] io::Error),
    #[error("{program} failed ({status}) while bootstrapping {what}{}", said(.reason))]
    #[diagnostic(help("{}", failure_help(reason)))]
    Failed {
        program: &'static str,
        /// Distribution, release and architecture.
        what: String,
        status: String,
        /// Line of its output that names the cause; empty if there is none.
        reason: String,
        #[source]
        output: Tail,
    },
    #[error("cannot pack the base disk {}", path.display())]
    #[diagnostic(help("a base needs about 4 GiB of free space there"))]
    Pack {
        path: PathBuf,
        #[diagnostic_source]
        source: NormalizeError,
    },
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help("a base needs about 4 GiB of free space there"))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn failure_help(reason: &str) -> &'static str {
    if reason.starts_with("Failed to fetch") {
        "check that this machine reaches the archive; `mirror` in [base.bootstrap] names another"
    } else {
        "check the archive and its suite; an ordinary user also needs unprivileged user namespaces and a range in \
         /etc/subuid and /etc/subgid (package uidmap)"
    }
}

/// Returns the path of a standalone qcow2 for `plan` in `cache`, and makes it if it is not there.
///
/// `run` is a scratch directory that the caller removes. Processes that need the same base wait for the one that makes it. A
/// process that is killed leaves files below `run`, and one `.partial` in the cache that the next process overwrites.
///
/// # Errors
///
/// The host lacks a tool, the archive does not answer, or the disk is full.
pub async fn bootstrap(
    plan: &plan::Bootstrap,
    cache: &Path,
    run: &Path,
    ui: &Ui,
) -> Result<PathBuf, BootstrapError> {
    let recipe = recipe(plan)?;
    let folder = cache.join("bootstrap");
    fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
    let base = folder.join(recipe.file_name());
    if base.exists() {
        return Ok(base);
    }
    require_programs(&PROGRAMS, search_path::find_system)?;
    check_arch(plan.arch)?;
    preflight::check_archives(&recipe).await?;
    let lock = base.with_extension("lock");
    let waiting = || ui.note("waiting for another karat that is making the same base");
    let _lock = FileLock::exclusive(&lock, waiting)
        .await
        .map_err(failed("lock", &lock))?;
    if base.exists() {
        return Ok(base);
    }
    preflight::require_space(run)?;
    let scratch = run.join("bootstrap");
    fs::create_dir_all(&scratch).map_err(failed("create", &scratch))?;
    let scratch = scratch.canonicalize().map_err(failed("open", &scratch))?;
    make_raw(&recipe, &scratch, ui).await?;
    publish(&scratch.join("disk.raw"), &base, ui).await?;
    // The caller removes the scratch directory at the end of the build; gigabytes should not wait for that.
    let _ = fs::remove_dir_all(&scratch);
    Ok(base)
}

/// Returns the path of the disk for `plan` in `cache`, which may not exist. Fails if this host could not make it.
pub(crate) fn path(plan: &plan::Bootstrap, cache: &Path) -> Result<PathBuf, BootstrapError> {
    Ok(cache.join("bootstrap").join(recipe(plan)?.file_name()))
}

/// Returns the URLs of the release files of the archives that `plan` uses.
pub(crate) fn release_files(plan: &plan::Bootstrap) -> Result<Vec<String>, BootstrapError> {
    let sources = recipe(plan)?.sources;
    let urls = sources
        .iter()
        .map(|source| source.release_file("InRelease"));
    Ok(urls.collect())
}

/// Returns the error of a base that this host has no apt source for, if it can bootstrap others.
pub(crate) fn doubt(plan: &plan::Bootstrap) -> Option<BootstrapError> {
    search_path::find("mmdebstrap")?;
    let error = recipe(plan).err()?;
    matches!(error, BootstrapError::NoSources { .. }).then_some(error)
}

fn recipe(plan: &plan::Bootstrap) -> Result<Recipe, BootstrapError> {
    let host = match plan.mirror {
        Some(_) => sources::HostSources::default(),
        None => sources::read_host(Path::new("/")).map_err(BootstrapError::Sources)?,
    };
    Recipe::new(plan, &host, Path::exists)
}

/// Returns the arguments of `unshare` that make the namespaces of a bootstrap; the program to run follows.
pub(crate) fn namespace_arguments() -> Vec<&'static str> {
    let mut arguments = Vec::new();
    if !rustix::process::geteuid().is_root() {
        arguments.extend(["--user", "--map-root-user", "--map-auto"]);
    }
    arguments.extend(["--mount", "--pid", "--fork", "--kill-child", "--"]);
    arguments
}

async fn make_raw(recipe: &Recipe, scratch: &Path, ui: &Ui) -> Result<(), BootstrapError> {
    let ids = Ids::from_seed(&recipe.key().hex());
    let sources = recipe.guest_lines.join("\n") + "\n";
    let settings = apt_settings().await;
    for (name, text) in [
        ("recipe.sh", recipe::SCRIPT),
        ("configure.sh", recipe::HOOK),
        ("sources.list", &sources),
        ("apt.conf", &settings),
    ] {
        let path = scratch.join(name);
        fs::write(&path, text).map_err(failed("write", &path))?;
    }
    let what = describe(&recipe.plan);
    ui.note(&format!("bootstrapping {what} with mmdebstrap"));
    // mmdebstrap can make namespaces of its own. But if it is killed in root mode its mounts stay, and its unshare mode needs a
    // scratch directory that other users can enter. As the root of these namespaces it has neither problem.
    let mut command = crate::os::child::command("unshare");
    command
        .args(namespace_arguments())
        .arg("sh")
        .arg(scratch.join("recipe.sh"))
        .args(&recipe.host_lines);
    command
        .env("PATH", search_path::with_system())
        .env("SCRATCH", scratch)
        .env("LC_ALL", "C.UTF-8");
    command.envs(recipe.environment(&ids));
    let ended = child::run(&mut command, ui)
        .await
        .map_err(failed("run a program in", scratch))?;
    check(&ended, "mmdebstrap", &recipe.plan)?;
    let (arch, owned) = (recipe.plan.arch, scratch.to_owned());
    hash_stream::blocking(move |_| disk::complete(&owned, arch, &ids))
        .await
        .map_err(failed("write", &scratch.join("disk.raw")))
}

/// Normalizes the disk into a file beside the target, syncs and renames it.
async fn publish(raw: &Path, base: &Path, ui: &Ui) -> Result<(), BootstrapError> {
    let partial = base.with_extension("partial");
    normalize_raw(raw, &partial, ui)
        .await
        .map_err(|source| BootstrapError::Pack {
            path: base.to_owned(),
            source,
        })?;
    let (from, to) = (partial, base.to_owned());
    hash_stream::blocking(move |_| atomic_file::publish(&File::open(&from)?, &from, &to))
        .await
        .map_err(failed("publish", base))
}

fn check(
    ended: &child::Ended,
    program: &'static str,
    plan: &plan::Bootstrap,
) -> Result<(), BootstrapError> {
    if ended.status.success() {
        return Ok(());
    }
    let status = match (ended.status.code(), ended.status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    };
    Err(BootstrapError::Failed {
        program,
        what: describe(plan),
        status,
        reason: reason(&ended.tail.0),
        output: ended.tail.clone(),
    })
}

/// Returns the first error of apt in the output of mmdebstrap, else the first that names a failed command.
fn reason(output: &[String]) -> String {
    let errors = || output.iter().filter_map(|line| line.strip_prefix("E: "));
    let own = errors().find(|error| !error.contains(" failed: "));
    own.or_else(|| errors().next())
        .unwrap_or_default()
        .to_owned()
}

fn describe(plan: &plan::Bootstrap) -> String {
    format!(
        "{} {} ({})",
        plan.distribution,
        plan.suite,
        recipe::debian_arch(plan.arch)
    )
}

fn check_arch(arch: plan::Arch) -> Result<(), BootstrapError> {
    let (native, name) = match arch {
        plan::Arch::X86_64 => (cfg!(target_arch = "x86_64"), "x86_64"),
        plan::Arch::Aarch64 => (cfg!(target_arch = "aarch64"), "aarch64"),
    };
    let emulated = || {
        Path::new("/proc/sys/fs/binfmt_misc")
            .join(format!("qemu-{name}"))
            .exists()
    };
    if native || emulated() {
        return Ok(());
    }
    Err(BootstrapError::ForeignArch {
        arch: recipe::debian_arch(arch),
    })
}

/// Returns the host's settings for proxies and for old snapshots: without them its own archive may be out of reach.
async fn apt_settings() -> String {
    let mut command = crate::os::child::command("apt-config");
    command.args([
        "dump",
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
        "Acquire::https::CAInfo",
    ]);
    command.args([
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::Retries",
    ]);
    let output = command
        .env("PATH", search_path::with_system())
        .output()
        .await;
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BootstrapError {
    let path = path.to_owned();
    move |source| BootstrapError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_apt_is_the_reason() {
        for (lines, expected) in [
            (
                &[
                    "Get:1 http://deb.example.org/debian bookworm InRelease",
                    "E: The repository 'http://deb.example.org/debian bokworm Release' does not have a Release file.",
                    "E: apt-get update failed: E: apt-get failed",
                ][..],
                "The repository 'http://deb.example.org/debian bokworm Release' does not have a Release file.",
            ),
            (&["E: mkfs failed: 1", "done"], "mkfs failed: 1"),
            (&["nothing"], ""),
        ] {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(reason(&lines), expected);
        }
    }
}
