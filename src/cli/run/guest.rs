//! The guest that boots a recorded image: as in the template that the manifest records, as far as this host can.

use std::collections::BTreeMap;

use crate::plan::{self, Accelerator, Arch, Builder, Firmware, Qemu, Ssh};
use crate::record::manifest::Manifest;

/// Returns the guest and the login of an image.
pub(super) fn guest_of(manifest: &Manifest) -> (Qemu, Ssh) {
    let (inputs, outputs) = (&manifest.inputs, &manifest.outputs);
    let recorded = plan::recorded_machine(&inputs.template.text, &inputs.variables);
    let (builder, ssh) = recorded.unwrap_or_else(defaults);
    let recorded = match builder {
        Builder::Qemu(guest) => Some(guest),
        Builder::Host(_) | Builder::Ec2(_) => None,
    };
    let arch = [Arch::X86_64, Arch::Aarch64]
        .into_iter()
        .find(|arch| arch.name() == outputs.arch);
    let mut guest = match (recorded, arch) {
        // The template may leave it to the host, and this host may be another.
        (Some(guest), Some(arch)) if guest.arch != arch => Qemu {
            cpus: guest.cpus,
            memory: guest.memory,
            ..Qemu::of(arch)
        },
        (Some(guest), _) => guest,
        (None, arch) => Qemu::of(arch.unwrap_or(Arch::X86_64)),
    };
    let firmware = [Firmware::Bios, Firmware::Uefi]
        .into_iter()
        .find(|firmware| firmware.name() == outputs.firmware);
    guest.firmware = firmware.unwrap_or(guest.firmware);
    // The image has its size.
    guest.disk_size = None;
    // The template of another user must not choose arguments for QEMU here.
    guest.extra_args = Vec::new();
    if guest.accelerator == Accelerator::Kvm {
        guest.accelerator = Accelerator::Auto;
    }
    let ssh = Ssh {
        // A key of this run, which cloud-init authorizes.
        key_file: None,
        agent: false,
        ports: None,
        jump: None,
        ..ssh
    };
    (guest, ssh)
}

/// Returns the guest and the login of an image without a manifest.
pub(super) fn default_guest() -> (Qemu, Ssh) {
    match defaults() {
        (Builder::Qemu(guest), ssh) => (guest, ssh),
        _ => unreachable!("a template without `[builder]` builds with QEMU"),
    }
}

fn defaults() -> (Builder, Ssh) {
    let machine = plan::recorded_machine("", &BTreeMap::new());
    machine.expect("a template without tables has the defaults")
}

/// Returns QEMU's name of the image's format.
pub(super) fn format_of(manifest: &Manifest) -> &str {
    match manifest.outputs.image.format.as_str() {
        "vhd" => "vpc",
        other => other,
    }
}

/// Returns whether a login is possible: cloud-init is installed, which authorizes the key of this run. An image without a list of
/// packages may have it.
pub(super) fn accepts_login(manifest: &Manifest) -> bool {
    let packages = &manifest.outputs.packages;
    packages.is_empty() || packages.iter().any(|package| package.name == "cloud-init")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::manifest::tests::example;

    fn manifest(template: &str, arch: &str, firmware: &str) -> Manifest {
        let mut manifest = example("web", template, b"");
        arch.clone_into(&mut manifest.outputs.arch);
        firmware.clone_into(&mut manifest.outputs.firmware);
        manifest
    }

    #[test]
    fn the_guest_is_that_of_the_template_with_the_arch_and_firmware_of_the_image() {
        let written = "[builder.qemu]\narch = \"x86_64\"\ncpus = 1\nmemory = \"2GiB\"\nmachine = \"pc\"\naccelerator = \"kvm\"\n\
                       disk_size = \"9GiB\"\nextra_args = [\"-s\"]\n[ssh]\nuser = \"admin\"\nagent = true\nmin_port = 2200\nmax_port = 2300\n";
        let ec2 = "[builder.ec2]\n[ssh]\nuser = \"admin\"\n";
        for (template, arch, firmware, expected) in [
            (written, "x86_64", "bios", (1, 2048, "pc", "bios", "admin")),
            (written, "x86_64", "uefi", (1, 2048, "pc", "uefi", "admin")),
            (
                written,
                "aarch64",
                "uefi",
                (1, 2048, "virt", "uefi", "admin"),
            ),
            (ec2, "x86_64", "uefi", (2, 1024, "q35", "uefi", "admin")),
            ("", "aarch64", "unknown", (2, 1024, "virt", "uefi", "root")),
            (
                "no template",
                "x86_64",
                "bios",
                (2, 1024, "q35", "bios", "root"),
            ),
        ] {
            let (guest, ssh) = guest_of(&manifest(template, arch, firmware));
            assert_eq!(
                (
                    guest.cpus,
                    guest.memory >> 20,
                    guest.machine.as_str(),
                    guest.firmware.name(),
                    ssh.user.as_str()
                ),
                expected,
                "{template}"
            );
            assert_eq!(guest.accelerator, Accelerator::Auto);
            assert_eq!((guest.disk_size, guest.extra_args.len()), (None, 0));
            assert!(ssh.key_file.is_none() && !ssh.agent && ssh.ports.is_none());
        }
    }

    #[test]
    fn an_image_without_cloud_init_accepts_no_login() {
        let mut manifest = example("web", "", b"");
        manifest.outputs.packages.clear();
        assert!(accepts_login(&manifest), "its packages are unknown");
        let mut package = example("web", "", b"").outputs.packages[0].clone();
        package.name = "bash".into();
        manifest.outputs.packages.push(package.clone());
        assert!(!accepts_login(&manifest));
        package.name = "cloud-init".into();
        manifest.outputs.packages.push(package);
        assert!(accepts_login(&manifest));
    }
}
