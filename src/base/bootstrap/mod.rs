//! A base made from a package archive with mmdebstrap: boots by BIOS and by UEFI, grows its root at the first boot, and
//! has no key, host key or machine-id of its own. Kept in the cache under the digest of all that it is made from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use miette::Diagnostic;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::{BaseDisk, file, format};
use crate::atomic::Unfinished;
use crate::child;
use crate::digest::Digest;
use crate::fetch::Cache;
use crate::flock::FileLock;
use crate::hashing;
use crate::plan::{Arch, Bootstrap};
use crate::ui::Ui;

mod archive;
mod disk;

const ROOT_SH: &str = include_str!("root.sh");

/// Changes when the disk around the root is made in another way.
const RECIPE: u32 = 1;

/// Why no base could be made.
#[derive(Debug, Error, Diagnostic)]
pub enum BootstrapError {
    /// Another architecture would have to be emulated while packages are installed.
    #[error("a base for {} cannot be made on this machine", .0.name())]
    #[diagnostic(help("build on a machine of that architecture, or give a disk image with `[base.file]` or `[base.url]`"))]
    Foreign(Arch),
    /// The machine's own sources have another release.
    #[error("this machine's apt sources have no {distribution} {suite}")]
    #[diagnostic(help("name an archive: `mirror = \"http://example.org/{distribution}\"` in `[base.bootstrap]`"))]
    NoArchive {
        /// `debian` or `ubuntu`.
        distribution: String,
        /// The release.
        suite: String,
    },
    /// The archive's signatures cannot be checked.
    #[error("the keyring {} is missing", path.display())]
    #[diagnostic(help("install it: `apt install {package}`"))]
    NoKeyring {
        /// The keyring.
        path: PathBuf,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program is missing.
    #[error("{program} is not installed")]
    #[diagnostic(help("install it: `apt install {package}`"))]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// mmdebstrap or what follows it failed.
    #[error("the base could not be made; the last lines were:\n{output}")]
    #[diagnostic(help("check that the archive can be reached and that there are 4 GiB of free space"))]
    Failed {
        /// The end of the output.
        output: String,
    },
    /// A file cannot be read or written.
    #[error("cannot write the base in {}", path.display())]
    #[diagnostic(help("free some space, or choose another place with `KARAT_CACHE`"))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The finished image cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Format(#[from] format::FormatError),
}

/// Everything that decides what a base is.
struct Recipe<'a> {
    suite: &'a str,
    packages: String,
    sources: String,
    keyring: PathBuf,
    arch: Arch,
    key: Digest,
}

/// Gets the base out of the cache, or makes it in `run` first.
pub(super) async fn obtain(bootstrap: &Bootstrap, cache: &Cache, run: &Path, ui: &Ui) -> Result<BaseDisk, BootstrapError> {
    let recipe = Recipe::new(bootstrap)?;
    let directory = cache.root().join("bases");
    let path = directory.join(format!("{}.qcow2", recipe.key.hex()));
    let write = |path: &Path| {
        let path = path.to_owned();
        |source| BootstrapError::Write { path, source }
    };
    fs::create_dir_all(&directory).map_err(write(&directory))?;
    let lock = path.with_extension("lock");
    let waiting = || ui.note("another karat makes this base; waiting for it");
    let lock = FileLock::exclusive(&lock, waiting).await.map_err(write(&directory))?;
    if !path.exists() {
        ui.note(&format!("making a base of {} {} (once; it is kept)", bootstrap.distribution, recipe.suite));
        recipe.make(&path, &run.join("base"), ui).await?;
    }
    drop(lock);
    let (digest, size) = file::check(&path, None, cache, ui).await.map_err(|error| BootstrapError::Failed {
        output: error.to_string(),
    })?;
    let found = format::detect(&path).await?;
    Ok(BaseDisk { path, format: found.name, digest, size, virtual_size: found.virtual_size })
}

impl<'a> Recipe<'a> {
    fn new(bootstrap: &'a Bootstrap) -> Result<Self, BootstrapError> {
        if bootstrap.arch.name() != std::env::consts::ARCH {
            return Err(BootstrapError::Foreign(bootstrap.arch));
        }
        let (keyring, package) = match bootstrap.distribution.as_str() {
            "ubuntu" => ("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "ubuntu-keyring"),
            _ => ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
        };
        let keyring = PathBuf::from(keyring);
        if !keyring.exists() {
            return Err(BootstrapError::NoKeyring { path: keyring, package });
        }
        let sources = archive::sources(bootstrap, Path::new("/etc/apt")).join("\n");
        if sources.is_empty() {
            return Err(BootstrapError::NoArchive {
                distribution: bootstrap.distribution.clone(),
                suite: bootstrap.suite.clone(),
            });
        }
        let packages = packages(&bootstrap.distribution, bootstrap.arch);
        let text = format!("{RECIPE}\n{}\n{packages}\n{sources}\n{ROOT_SH}", bootstrap.suite);
        let key = Digest::of(text.as_bytes());
        Ok(Self { suite: &bootstrap.suite, packages, sources, keyring, arch: bootstrap.arch, key })
    }

    async fn make(&self, path: &Path, scratch: &Path, ui: &Ui) -> Result<(), BootstrapError> {
        let write = |source| BootstrapError::Write { path: scratch.to_owned(), source };
        fs::create_dir(scratch).map_err(write)?;
        fs::write(scratch.join("sources.list"), &self.sources).map_err(write)?;
        self.root(scratch, ui).await?;

        let (from, seed, arch) = (scratch.to_owned(), self.key.hex(), self.arch);
        hashing::blocking(move |_| assemble(&from, arch, &seed)).await.map_err(write)?;

        let unfinished = Unfinished::create(path, 0o644).map_err(write)?;
        let output = child::command("qemu-img")
            .args(["convert", "-c", "-W", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", "disk.raw"])
            .arg(unfinished.path())
            .current_dir(scratch)
            .output()
            .await
            .map_err(|_| missing("qemu-img", "qemu-utils"))?;
        if !output.status.success() {
            return Err(BootstrapError::Failed { output: child::complaint(&output) });
        }
        unfinished.finish().map_err(write)?;
        // Hundreds of megabytes that the guest's overlay may need.
        fs::remove_dir_all(scratch).map_err(write)
    }

    /// Runs root.sh in namespaces of its own.
    async fn root(&self, scratch: &Path, ui: &Ui) -> Result<(), BootstrapError> {
        for (program, package) in [("mmdebstrap", "mmdebstrap"), ("mke2fs", "e2fsprogs")] {
            if !installed(program) {
                return Err(missing(program, package));
            }
        }
        let mut command = child::command("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user", "--map-auto"]);
        }
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", ROOT_SH, "root.sh"]);
        command.args([self.suite, &self.packages, "sources.list"]).arg(&self.keyring);
        command.current_dir(scratch).env("ROOT_UUID", disk::uuid(&self.key.hex()));
        command.env("LC_ALL", "C.UTF-8").env("PATH", path_with_sbin());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|_| missing("unshare", "util-linux"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (ended, _, said) = tokio::join!(child.wait(), follow(stdout, ui), follow(stderr, ui));
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(BootstrapError::Failed { output: said.join("\n") }),
            Err(error) => Err(BootstrapError::Failed { output: error.to_string() }),
        }
    }
}

/// Shows every line and returns the last ones.
async fn follow(stream: Option<impl AsyncRead + Unpin>, ui: &Ui) -> Vec<String> {
    const KEPT: usize = 20;
    let mut last = Vec::new();
    let Some(stream) = stream else { return last };
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        ui.output(&line);
        if last.len() == KEPT {
            last.remove(0);
        }
        last.push(line);
    }
    last
}

fn assemble(scratch: &Path, arch: Arch, seed: &str) -> io::Result<()> {
    let read = |name: &str| fs::read(scratch.join(name));
    let code = match arch {
        Arch::X86_64 => disk::BootCode {
            bios: Some((read("boot.img")?, read("core.img")?)),
            efi: (read("grub.efi")?, "BOOTX64.EFI"),
        },
        Arch::Aarch64 => disk::BootCode { bios: None, efi: (read("grub.efi")?, "BOOTAA64.EFI") },
    };
    disk::write(&scratch.join("root.ext4"), &code, seed, &scratch.join("disk.raw"))
}

/// What a base needs to boot, to be reached and to be provisioned, and no more.
fn packages(distribution: &str, arch: Arch) -> String {
    let kernel = match (distribution, arch) {
        ("ubuntu", _) => "linux-image-virtual",
        (_, Arch::X86_64) => "linux-image-cloud-amd64",
        (_, Arch::Aarch64) => "linux-image-cloud-arm64",
    };
    let grub = match arch {
        Arch::X86_64 => "grub-pc-bin,grub-efi-amd64-bin",
        Arch::Aarch64 => "grub-efi-arm64-bin",
    };
    format!(
        "{kernel},{grub},grub2-common,initramfs-tools,zstd,systemd-sysv,systemd-resolved,dbus,udev,iproute2,netbase,\
         openssh-server,cloud-init,cloud-guest-utils,fdisk,e2fsprogs,sudo,ca-certificates"
    )
}

fn missing(program: &'static str, package: &'static str) -> BootstrapError {
    BootstrapError::NoProgram { program, package }
}

fn installed(program: &str) -> bool {
    std::env::split_paths(&path_with_sbin()).any(|directory| directory.join(program).is_file())
}

/// A user's `PATH` may lack the directories of mke2fs and chroot.
fn path_with_sbin() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}
