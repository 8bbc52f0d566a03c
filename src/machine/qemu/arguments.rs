//! QEMU's command line. Pure: paths in the run directory are relative, because QEMU runs there.

use std::fmt::Write as _;
use std::iter;
use std::path::Path;

use serde_json::{Value, json};

use super::accelerator::Accelerator;
use super::connections::{Connections, Console};
use super::firmware::Uefi;
use crate::disk;
use crate::plan::{Arch, Qemu};
use crate::time::Timestamp;

/// Port of the guest's SSH server.
pub(super) const SSH_PORT: u16 = 22;

/// Names of files in the run directory.
pub(super) const DISK: &str = "disk.qcow2";
/// Overlay on [`DISK`] that takes the writes after [`super::QemuMachine::split_disk`].
pub(super) const SPLIT_DISK: &str = "split.qcow2";
pub(super) const SEED: &str = "seed.img";
pub(super) const VARS: &str = "vars.fd";
pub(super) const CONSOLE: &str = "console.log";
pub(super) const CONSOLE_SOCKET: &str = "console.sock";

/// Values that determine the command line.
pub(super) struct Inputs<'a> {
    pub plan: &'a Qemu,
    pub connections: &'a Connections,
    /// Start time of the guest's clock; `None` is the host's time.
    pub clock: Option<Timestamp>,
    pub accelerator: Accelerator,
    pub base: &'a disk::BaseImage,
    pub uefi: Option<&'a Uefi>,
    /// Host port forwarded to the guest's SSH; 0 lets QEMU choose.
    pub port: u16,
}

/// Returns QEMU's program for an architecture.
pub(crate) fn program(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Aarch64 => "qemu-system-aarch64",
    }
}

/// Returns the arguments, without the program's name.
pub(super) fn arguments(inputs: &Inputs<'_>) -> Vec<String> {
    let plan = inputs.plan;
    let mut arguments = Arguments::default();
    arguments.flag("-nodefaults").flag("-no-user-config");
    arguments.pair("-name", "karat");
    arguments.pair("-machine", &machine(plan));
    arguments.pair("-accel", accelerator(inputs.accelerator));
    arguments.pair("-cpu", cpu(plan.arch, inputs.accelerator));
    arguments.pair("-smp", &format!("cpus={}", plan.cpus));
    arguments.pair("-m", &format!("size={}K", plan.memory / 1024));
    arguments.pair("-rtc", &clock(inputs.clock));
    arguments.pair("-display", "none");
    // The monitor uses QEMU's own stdin and stdout: a socket's path could be too long, or left over.
    arguments.pair("-chardev", "stdio,id=monitor,signal=off");
    arguments.pair("-mon", "chardev=monitor,mode=control");
    arguments.pair("-chardev", &console(inputs.connections.console));
    arguments.pair("-serial", "chardev:console");
    firmware(&mut arguments, inputs.uefi);
    disks(&mut arguments, inputs.base);
    network(&mut arguments, inputs.connections, inputs.port);
    arguments.pair("-object", "rng-builtin,id=random");
    arguments.pair("-device", "virtio-rng-pci,rng=random");
    arguments.pair("-device", pvpanic(plan.arch));
    arguments.0.extend(plan.extra_args.iter().cloned());
    arguments.0
}

/// Returns the character device of the serial console. A guest never waits for a reader of the socket.
fn console(form: Console) -> String {
    match form {
        Console::Log => format!("file,id=console,path={CONSOLE}"),
        Console::Socket => {
            format!("socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,logfile={CONSOLE}")
        }
    }
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.to_owned());
        self
    }

    fn pair(&mut self, option: &str, value: &str) -> &mut Self {
        self.flag(option).flag(value)
    }
}

/// Returns the value of `-rtc`, where QEMU expects a date in UTC without the `Z`.
fn clock(start: Option<Timestamp>) -> String {
    start.map_or("base=utc".to_owned(), |start| {
        format!("base={}", start.to_string().trim_end_matches('Z'))
    })
}

fn machine(plan: &Qemu) -> String {
    let name = &plan.machine;
    // The port for VMware's tools is unused here. Other machines than PCs do not know the option.
    let is_pc = ["q35", "pc"].contains(&name.as_str()) || name.starts_with("pc-");
    format!("{name}{}", if is_pc { ",vmport=off" } else { "" })
}

fn accelerator(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg,thread=multi,tb-size=512",
    }
}

/// Returns the CPU model. Under emulation it is fixed, so that a build does not depend on QEMU's newest features. It has all of
/// x86-64-v2, which current distributions require, and nothing that is slow to emulate. It is an AMD: on an Intel of that age
/// Linux isolates its page tables, which costs a fifth of the processor time of a boot (42.8 s against 35.4 s). Nested
/// virtualisation would only make the guest load a hypervisor.
fn cpu(arch: Arch, accelerator: Accelerator) -> &'static str {
    match (accelerator, arch) {
        (Accelerator::Kvm, _) => "host",
        (Accelerator::Tcg, Arch::X86_64) => "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,svm=off",
        (Accelerator::Tcg, Arch::Aarch64) => "cortex-a72",
    }
}

fn pvpanic(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "pvpanic",
        Arch::Aarch64 => "pvpanic-pci",
    }
}

fn firmware(arguments: &mut Arguments, uefi: Option<&Uefi>) {
    let Some(uefi) = uefi else { return };
    let drive = |unit: u8, read_only: bool, path: &Path| {
        let read_only = if read_only { "on" } else { "off" };
        let path = path.to_string_lossy().replace(',', ",,");
        format!("if=pflash,unit={unit},format=raw,readonly={read_only},file={path}")
    };
    arguments.pair("-drive", &drive(0, true, &uefi.code));
    arguments.pair("-drive", &drive(1, false, Path::new(VARS)));
}

/// Node of the guest's disk.
pub(super) const DISK_NODE: &str = "disk";

/// Adds the disks. After a failure the overlay is discarded, so no write waits for the host's disk; discarded blocks are freed.
/// Every format is explicit, down to the base's: data that a guest wrote at the start of a disk never decides how it is read.
fn disks(arguments: &mut Arguments, base: &disk::BaseImage) {
    let backing = json!({
        "driver": base.format,
        "read-only": true,
        "file": {"driver": "file", "filename": base.path.to_string_lossy(), "read-only": true},
    });
    let overlay = overlay(DISK_NODE, DISK, &backing);
    let seed = json!({
        "node-name": "seed",
        "driver": "raw",
        "read-only": true,
        "file": {"driver": "file", "filename": SEED, "read-only": true},
    });
    arguments.pair("-blockdev", &overlay.to_string());
    // virtio-blk rather than virtio-scsi: it supports discard as well, and its guest driver starts sooner.
    arguments.pair(
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=1,serial=karat-disk",
    );
    arguments.pair("-blockdev", &seed.to_string());
    arguments.pair("-device", "virtio-blk-pci,drive=seed,serial=karat-seed");
}

/// Returns the block device of an overlay.
pub(super) fn overlay(node: &str, file: &str, backing: &Value) -> Value {
    let cache = json!({"direct": false, "no-flush": true});
    json!({
        "node-name": node,
        "driver": "qcow2",
        "cache": cache,
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "file": {"driver": "file", "filename": file, "aio": "threads", "cache": cache, "discard": "unmap"},
        "backing": backing,
    })
}

/// Adds the network. IPv6 is off: a guest on a host without it would wait for each address of that kind. No boot ROM: nothing
/// boots from the network. A sealed guest reaches nothing: QEMU passes only connections to the forwarded ports.
fn network(arguments: &mut Arguments, connections: &Connections, port: u16) {
    let restrict = if connections.open { "off" } else { "on" };
    let mut net = format!("user,id=net,ipv6=off,restrict={restrict}");
    let forwards = connections.forwards.iter();
    for (host, guest) in
        iter::once((port, SSH_PORT)).chain(forwards.map(|forward| (forward.host, forward.guest)))
    {
        // Writing to a String cannot fail.
        let _ = write!(net, ",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
    }
    arguments.pair("-netdev", &net);
    arguments.pair("-device", "virtio-net-pci,netdev=net,romfile=");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::qemu::PortForward;
    use crate::plan::{Accelerator as Wanted, Firmware};

    fn plan(arch: Arch) -> Qemu {
        Qemu {
            arch,
            cpus: 3,
            memory: 768 << 20,
            disk_size: None,
            firmware: Firmware::Bios,
            machine: if arch == Arch::X86_64 { "q35" } else { "virt" }.into(),
            accelerator: Wanted::Auto,
            extra_args: vec!["-s".into(), "-global".into()],
        }
    }

    fn base() -> disk::BaseImage {
        disk::BaseImage {
            path: "/images/a,b \"c\".img".into(),
            format: "raw".into(),
        }
    }

    fn line(plan: &Qemu, accelerator: Accelerator, uefi: Option<&Uefi>) -> String {
        let base = base();
        let connections = Connections {
            forwards: vec![PortForward {
                host: 8080,
                guest: 80,
            }],
            ..Connections::default()
        };
        let inputs = Inputs {
            plan,
            connections: &connections,
            clock: None,
            accelerator,
            base: &base,
            uefi,
            port: 2222,
        };
        arguments(&inputs).join(" ")
    }

    #[test]
    fn the_clock_starts_where_it_is_told_to() {
        let epoch = "2026-11-23T11:22:37Z".parse().unwrap();
        assert_eq!(clock(Some(epoch)), "base=2026-11-23T11:22:37");
        assert_eq!(clock(None), "base=utc");
    }

    #[test]
    fn the_command_line_follows_the_plan() {
        let uefi = Uefi {
            code: "/fw/code,1.fd".into(),
            vars: "/fw/vars.fd".into(),
        };
        let x86 = line(&plan(Arch::X86_64), Accelerator::Tcg, None);
        let kvm = line(&plan(Arch::X86_64), Accelerator::Kvm, Some(&uefi));
        let arm = line(&plan(Arch::Aarch64), Accelerator::Tcg, Some(&uefi));
        for (line, has, lacks) in [
            (&x86, "-machine q35,vmport=off", "pflash"),
            (&x86, "-accel tcg,thread=multi", "-cpu host"),
            (&x86, "-smp cpus=3 -m size=786432K", "0.0.0.0"),
            (&x86, "hostfwd=tcp:127.0.0.1:2222-:22", "vnc"),
            (
                &x86,
                "restrict=on,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80 ",
                "restrict=off",
            ),
            (&x86, r#""filename":"/images/a,b \"c\".img""#, ",,"),
            (&kvm, "-accel kvm -cpu host", "tcg"),
            (
                &kvm,
                "if=pflash,unit=0,format=raw,readonly=on,file=/fw/code,,1.fd",
                "/fw/vars.fd",
            ),
            (
                &kvm,
                "if=pflash,unit=1,format=raw,readonly=off,file=vars.fd",
                "pvpanic-pci",
            ),
            (&arm, "-machine virt -accel tcg", "vmport"),
            (&arm, "-device pvpanic-pci", "qemu64"),
        ] {
            assert!(line.contains(has), "{has} is not in {line}");
            assert!(!line.contains(lacks), "{lacks} is in {line}");
        }
        assert!(
            x86.ends_with(" -s -global"),
            "more arguments come last: {x86}"
        );
    }

    #[test]
    fn every_disk_format_is_fixed() {
        let line = line(&plan(Arch::X86_64), Accelerator::Tcg, None);
        for expected in [
            r#""driver":"qcow2""#,
            r#""backing":{"driver":"raw""#,
            r#""driver":"raw","file""#,
        ] {
            assert!(line.contains(expected), "{expected} is not in {line}");
        }
    }
}
