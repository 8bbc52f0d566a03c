//! Guests in a real QEMU: tiny ones that are a boot sector, and whole systems on the base that karat makes.

mod endings;
mod rewritten;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod system;

use std::path::{Path, PathBuf};
use std::time::Duration;

use karat::disk::BaseImage;
use karat::machine::qemu::{Connections, QemuError, QemuMachine, launch};
use karat::plan::{Accelerator, Arch, Firmware, Qemu, Ssh};
use karat::ui::Ui;

fn qemu() -> Qemu {
    Qemu {
        arch: Arch::X86_64,
        cpus: 1,
        memory: 1 << 30,
        disk_size: None,
        firmware: Firmware::Bios,
        machine: "q35".into(),
        accelerator: Accelerator::Tcg,
        extra_args: Vec::new(),
    }
}

fn ssh() -> Ssh {
    Ssh {
        user: "root".into(),
        timeout: Duration::from_mins(5),
        key_file: None,
        agent: false,
        ports: None,
        jump: None,
        interface: None,
    }
}

/// A site with a run directory.
struct Site(support::site::Site);

impl Site {
    fn new() -> Self {
        let site = support::site::Site::new();
        std::fs::create_dir(site.path("run")).unwrap();
        Self(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn run(&self) -> PathBuf {
        self.path("run")
    }

    async fn launch(&self, plan: &Qemu, base: &BaseImage) -> Result<QemuMachine, QemuError> {
        self.launch_with(plan, &ssh(), base).await
    }

    async fn launch_with(
        &self,
        plan: &Qemu,
        ssh: &Ssh,
        base: &BaseImage,
    ) -> Result<QemuMachine, QemuError> {
        let (connections, ui) = (Connections::default(), Ui::default());
        launch(plan, ssh, &connections, base, None, &self.run(), &ui).await
    }
}

/// The process that a run directory's record names.
fn recorded_pid(run: &Path) -> i32 {
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("qemu.json")).unwrap()).unwrap();
    i32::try_from(record["pid"].as_i64().unwrap()).unwrap()
}

fn lives(pid: i32) -> bool {
    // A zombie has ended; only its parent has not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .unwrap()
            .1
            .trim_start()
            .starts_with(['Z', 'X'])
    })
}

/// Whether a process is gone before the time is over.
fn is_gone_within(pid: i32, limit: Duration) -> bool {
    let start = std::time::Instant::now();
    while lives(pid) {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
