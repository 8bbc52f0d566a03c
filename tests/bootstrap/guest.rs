//! A guest on a base, by QEMU's bare command line: the builder has tests of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How the test's key gets in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WayIn {
    /// A NoCloud seed.
    Seed,
    /// systemd's credentials in SMBIOS, and no cloud-init.
    Credentials,
}

pub struct Guest {
    qemu: Child,
    port: u16,
    key: PathBuf,
    console: PathBuf,
}

impl Guest {
    /// Boots an overlay on `base` that is 6 GiB large and waits for SSH's banner.
    pub fn boot(base: &Path, scratch: &Path, firmware: &str, way_in: WayIn) -> Self {
        let path = |name: &str| scratch.join(format!("{firmware}.{name}"));
        let (overlay, console, key) = (path("qcow2"), path("console"), path("key"));
        succeed(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key),
        );
        let public = std::fs::read_to_string(key.with_extension("key.pub")).unwrap();
        let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
        succeed(
            Command::new("qemu-img")
                .args(create)
                .arg(base)
                .arg(&overlay)
                .arg("6G"),
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();

        let mut qemu = Command::new("setpriv");
        qemu.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-nodefaults",
            "-display",
            "none",
        ]);
        qemu.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-m",
            "1024",
            "-smp",
            "1",
        ]);
        qemu.arg("-drive").arg(format!(
            "file={},if=virtio,format=qcow2,cache=unsafe",
            overlay.display()
        ));
        qemu.arg("-netdev")
            .arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"));
        qemu.args([
            "-device",
            "virtio-net-pci,netdev=net",
            "-device",
            "virtio-rng-pci",
        ]);
        qemu.arg("-serial")
            .arg(format!("file:{}", console.display()));
        if firmware == "uefi" {
            for (unit, file, mode) in [(0, "CODE", "readonly=on"), (1, "VARS", "snapshot=on")] {
                qemu.arg("-drive").arg(format!(
                    "if=pflash,format=raw,unit={unit},{mode},file=/usr/share/OVMF/OVMF_{file}_4M.fd"
                ));
            }
        }
        match way_in {
            WayIn::Seed => {
                let seed = path("seed");
                write_seed(&seed, public.trim());
                qemu.arg("-drive").arg(format!(
                    "file={},if=virtio,format=raw,readonly=on",
                    seed.display()
                ));
            }
            WayIn::Credentials => {
                qemu.arg("-smbios");
                qemu.arg(format!(
                    "type=11,value=io.systemd.credential:ssh.authorized_keys.root={}",
                    public.trim()
                ));
            }
        }
        let qemu = qemu
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 (package qemu-system-x86) runs");
        let mut guest = Self {
            qemu,
            port,
            key,
            console,
        };
        guest.wait_for_banner(firmware);
        guest
    }

    fn wait_for_banner(&mut self, firmware: &str) {
        let started = Instant::now();
        while started.elapsed() < Duration::from_mins(8) {
            let ended = self.qemu.try_wait().unwrap();
            assert!(ended.is_none(), "QEMU ended: {}", self.console());
            if self
                .banner()
                .is_some_and(|banner| banner.starts_with(b"SSH-2.0-"))
            {
                eprintln!("{firmware}: SSH answers after {:?}", started.elapsed());
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no SSH by {firmware}: {}", self.console());
    }

    fn banner(&self) -> Option<[u8; 8]> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        let mut banner = [0; 8];
        stream.read_exact(&mut banner).ok()?;
        Some(banner)
    }

    fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
    }

    /// Standard output of a command run by root in the guest.
    pub fn ssh(&self, script: &str) -> String {
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
        ]);
        ssh.args([
            "-o",
            "LogLevel=ERROR",
            "-o",
            "ConnectTimeout=60",
            "-p",
            &self.port.to_string(),
            "-i",
        ]);
        let output = ssh
            .arg(&self.key)
            .args(["root@127.0.0.1", script])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_ne!(
            output.status.code(),
            Some(255),
            "{errors}\n{}",
            self.console()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

fn write_seed(path: &Path, public: &str) {
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    file.set_len(1 << 20).unwrap();
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"CIDATA     ");
    fatfs::format_volume(&mut file, options).unwrap();
    let volume = fatfs::FileSystem::new(file, fatfs::FsOptions::new()).unwrap();
    let user_data = format!(
        "#cloud-config\ndisable_root: false\nusers:\n- name: root\n  ssh_authorized_keys: ['{public}']\n"
    );
    for (name, text) in [
        ("meta-data", "instance-id: i-1\nlocal-hostname: seeded\n"),
        ("user-data", user_data.as_str()),
    ] {
        volume
            .root_dir()
            .create_file(name)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    volume.unmount().unwrap();
}
