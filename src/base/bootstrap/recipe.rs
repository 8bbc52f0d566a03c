//! Inputs of a base: sources, keyring, packages, and their digest. Pure: the caller tells whether a keyring exists.

use std::path::{Path, PathBuf};

use super::BootstrapError;
use super::disk::{self, Ids};
use super::sources::{self, HostSources, Source};
use crate::digest::Digest;
use crate::plan::{self, Arch};

/// Script that makes the file system; its head documents it.
pub(super) const SCRIPT: &str = include_str!("recipe.sh");
/// Hook of [`SCRIPT`] that configures the tree.
pub(super) const HOOK: &str = include_str!("configure.sh");
/// To be incremented when the result changes for the same inputs and scripts.
const VERSION: u32 = 3;

/// Inputs that determine a base.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub plan: plan::Bootstrap,
    pub sources: Vec<Source>,
    /// Lines of `sources.list` for this host's mmdebstrap.
    pub host_lines: Vec<String>,
    /// Lines of `sources.list` for the guest.
    pub guest_lines: Vec<String>,
    pub keyring: PathBuf,
    guest_keyring: PathBuf,
    packages: Vec<&'static str>,
}

impl Recipe {
    pub(super) fn new(
        plan: &plan::Bootstrap,
        host: &HostSources,
        exists: impl Fn(&Path) -> bool,
    ) -> Result<Self, BootstrapError> {
        let (distribution, suite) = (plan.distribution.as_str(), plan.suite.as_str());
        if !["debian", "ubuntu"].contains(&distribution) {
            return Err(BootstrapError::Distribution(distribution.to_owned()));
        }
        let sources = match &plan.mirror {
            Some(mirror) => sources::from_mirror(mirror, distribution, suite),
            None => sources::select(host, distribution, suite),
        };
        if sources.is_empty() {
            return Err(BootstrapError::NoSources {
                distribution: distribution.to_owned(),
                suite: suite.to_owned(),
            });
        }
        let usual = PathBuf::from(format!(
            "/usr/share/keyrings/{distribution}-archive-keyring.gpg"
        ));
        let named = sources.iter().find_map(|source| source.signed_by.clone());
        let keyring = named.unwrap_or_else(|| usual.clone());
        if !exists(&keyring) {
            return Err(BootstrapError::NoKeyring {
                path: keyring,
                distribution: distribution.to_owned(),
            });
        }
        let guest_keyring = match keyring.file_name() {
            Some(name) if keyring != usual => Path::new("/etc/apt/keyrings").join(name),
            _ => usual,
        };
        let lines = |key: &Path| sources.iter().map(|source| source.line(key)).collect();
        Ok(Self {
            plan: plan.clone(),
            host_lines: lines(&keyring),
            guest_lines: lines(&guest_keyring),
            keyring,
            guest_keyring,
            packages: packages(distribution, suite, plan.arch),
            sources,
        })
    }

    /// Returns the digest of the inputs: bases with the same key are the same.
    pub(super) fn key(&self) -> Digest {
        let plan::Bootstrap {
            distribution,
            suite,
            arch,
            ..
        } = &self.plan;
        let inputs = format!(
            "{VERSION}\n{distribution} {suite} {arch:?}\n{}\n{}\n{}\n{SCRIPT}\n{HOOK}\n{}",
            self.host_lines.join("\n"),
            self.guest_lines.join("\n"),
            self.packages.join(" "),
            disk::DISK_SIZE,
        );
        Digest::of(inputs.as_bytes())
    }

    /// Returns the file name of the base in the cache.
    pub(super) fn file_name(&self) -> String {
        let plan = &self.plan;
        let suite: String = plan
            .suite
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        format!(
            "{}-{suite}-{}-{}.qcow2",
            plan.distribution,
            debian_arch(plan.arch),
            &self.key().hex()[..16]
        )
    }

    /// Returns the environment of the scripts, except `SCRATCH`.
    pub(super) fn environment(&self, ids: &Ids) -> Vec<(&'static str, String)> {
        let (grub_bios, grub_efi, console) = match self.plan.arch {
            Arch::X86_64 => ("yes", "x86_64-efi", "ttyS0,115200"),
            Arch::Aarch64 => ("", "arm64-efi", "ttyAMA0,115200"),
        };
        vec![
            ("SUITE", self.plan.suite.clone()),
            ("DEB_ARCH", debian_arch(self.plan.arch).to_owned()),
            ("KEYRING", self.keyring.display().to_string()),
            ("GUEST_KEYRING", self.guest_keyring.display().to_string()),
            ("PACKAGES", self.packages.join(",")),
            ("ROOT_UUID", ids.root.to_string()),
            ("ESP_UUID", ids.esp_text()),
            ("GRUB_BIOS", grub_bios.to_owned()),
            ("GRUB_EFI_FORMAT", grub_efi.to_owned()),
            ("CONSOLE", console.to_owned()),
            ("DISK_SIZE", disk::DISK_SIZE.to_string()),
            ("ROOT_OFFSET", disk::ROOT_OFFSET.to_string()),
            ("ROOT_SIZE", disk::ROOT_SIZE.to_string()),
        ]
    }
}

/// Returns Debian's name of an architecture.
pub(super) fn debian_arch(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
    }
}

fn packages(distribution: &str, suite: &str, arch: Arch) -> Vec<&'static str> {
    let mut packages = vec![
        "ca-certificates",
        "cloud-guest-utils",
        "cloud-init",
        "dbus",
        "e2fsprogs",
        "grub2-common",
        "initramfs-tools",
        "iproute2",
        "netbase",
        "openssh-server",
        "sudo",
        "systemd-sysv",
        "udev",
        "zstd",
    ];
    // The kernel for virtual machines: a third of the size, with virtio and NVMe but without drivers for hardware.
    packages.push(match (distribution, arch) {
        ("ubuntu", _) => "linux-image-virtual",
        (_, Arch::X86_64) => "linux-image-cloud-amd64",
        (_, Arch::Aarch64) => "linux-image-cloud-arm64",
    });
    packages.extend(match arch {
        Arch::X86_64 => &["grub-pc-bin", "grub-efi-amd64-bin"][..],
        Arch::Aarch64 => &["grub-efi-arm64-bin"],
    });
    // In older releases it is part of the systemd package.
    if !["buster", "bullseye", "focal", "jammy"].contains(&suite) {
        packages.push("systemd-resolved");
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(distribution: &str, suite: &str, mirror: Option<&str>) -> plan::Bootstrap {
        plan::Bootstrap {
            distribution: distribution.into(),
            suite: suite.into(),
            mirror: mirror.map(str::to_owned),
            arch: Arch::X86_64,
        }
    }

    fn host() -> HostSources {
        HostSources {
            distribution: "debian".into(),
            suite: "bookworm".into(),
            sources: sources::parse_list("deb http://a.example.org/debian bookworm main"),
        }
    }

    fn key(plan: &plan::Bootstrap) -> String {
        Recipe::new(plan, &host(), |_| true).unwrap().key().hex()
    }

    #[test]
    fn the_key_follows_the_inputs() {
        let first = plan("debian", "bookworm", None);
        assert_eq!(key(&first), key(&first.clone()));
        let mut arm = first.clone();
        arm.arch = Arch::Aarch64;
        for other in [
            plan("debian", "trixie", None),
            plan("debian", "bookworm", Some("http://b.example.org/debian")),
            plan("ubuntu", "noble", Some("http://b.example.org/ubuntu")),
            arm,
        ] {
            assert_ne!(key(&first), key(&other), "{other:?}");
        }
    }

    #[test]
    fn a_base_that_cannot_be_bootstrapped_is_refused_with_a_remedy() {
        for (distribution, mirror, has_keyring, expected, remedy) in [
            (
                "fedora",
                None,
                true,
                "cannot bootstrap \"fedora\"",
                "debian",
            ),
            (
                "ubuntu",
                None,
                true,
                "no apt source of this machine has ubuntu noble",
                "base.bootstrap.mirror",
            ),
            (
                "ubuntu",
                Some("http://b.example.org"),
                false,
                "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
                "ubuntu-keyring",
            ),
            (
                "debian",
                Some("http://b.example.org"),
                false,
                "/usr/share/keyrings/debian-archive-keyring.gpg",
                "debian-archive-keyring",
            ),
        ] {
            let plan = plan(distribution, "noble", mirror);
            let error = Recipe::new(&plan, &host(), |_| has_keyring).unwrap_err();
            let help = miette::Diagnostic::help(&error)
                .map(|help| help.to_string())
                .unwrap_or_default();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(help.contains(remedy), "{help}");
        }
    }

    #[test]
    fn a_key_of_the_hosts_own_goes_into_the_guest() {
        let mirror = "deb [signed-by=/srv/own.gpg] http://b.example.org/debian bookworm main";
        let recipe =
            Recipe::new(&plan("debian", "bookworm", Some(mirror)), &host(), |_| true).unwrap();
        assert_eq!(recipe.host_lines, [mirror]);
        assert_eq!(
            recipe.guest_lines,
            [mirror.replace("/srv/own.gpg", "/etc/apt/keyrings/own.gpg")]
        );
    }
}
