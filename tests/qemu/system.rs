//! A whole system: launched, used, restarted, cleaned up, shut down, finished, and booted once more.

use std::time::{Duration, Instant};

use karat::disk::{self, BaseImage};
use karat::machine::Machine as _;
use karat::machine::qemu::{Connections, QemuMachine, launch};
use karat::plan::{Format, Qemu, Ssh};
use karat::ui::Ui;

use super::support::base as shared;
use super::{Site, qemu, ssh};

const BOOT_LIMIT: Duration = Duration::from_secs(400);
const SHUTDOWN_LIMIT: Duration = Duration::from_mins(2);
pub const DISK_SIZE: u64 = 6 << 30;

/// The shared base.
pub async fn base() -> BaseImage {
    let scratch = tempfile::tempdir().unwrap();
    let path = shared::make(&shared::cache(), scratch.path()).await;
    let format = disk::inspect(&path).await.unwrap().format;
    BaseImage { path, format }
}

pub async fn boot(site: &Site, run: &str, plan: &Qemu, ssh: &Ssh, base: &BaseImage) -> QemuMachine {
    let run = site.path(run);
    std::fs::create_dir_all(&run).unwrap();
    let start = Instant::now();
    let connections = Connections::default();
    let launched = launch(plan, ssh, &connections, base, None, &run, &Ui::default()).await;
    let mut machine = launched.unwrap();
    if let Err(error) = machine.wait_ready(BOOT_LIMIT, &Ui::default()).await {
        panic!("{error}: {:?}", std::error::Error::source(&error));
    }
    eprintln!(
        "{}: ready after {:.1} s",
        run.display(),
        start.elapsed().as_secs_f64()
    );
    machine
}

pub async fn says(machine: &QemuMachine, command: &str) -> String {
    machine
        .session()
        .output(command)
        .await
        .unwrap()
        .trim()
        .to_owned()
}

#[tokio::test]
async fn from_launch_to_a_finished_image_that_boots() {
    let base = base().await;
    let site = Site::new();
    let plan = Qemu {
        disk_size: Some(DISK_SIZE),
        ..qemu()
    };
    // A user who is not there yet, and who becomes root by sudo.
    let user = Ssh {
        user: "builder".into(),
        ..ssh()
    };
    let mut machine = boot(&site, "run", &plan, &user, &base).await;

    assert_eq!(says(&machine, "id -u").await, "0");
    let root_kib: u64 = says(&machine, "df -k --output=size / | tail -1")
        .await
        .parse()
        .unwrap();
    assert!(
        root_kib > (DISK_SIZE >> 10) * 8 / 10,
        "the root file system grew with the disk: {root_kib} KiB"
    );

    let boot_id = says(&machine, "cat /proc/sys/kernel/random/boot_id").await;
    machine
        .session()
        .output("systemctl reboot --no-block")
        .await
        .unwrap();
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < BOOT_LIMIT, "it did not come back");
        tokio::time::sleep(Duration::from_secs(1)).await;
        if machine.reconnect(BOOT_LIMIT).await.is_ok()
            && machine
                .session()
                .output("cat /proc/sys/kernel/random/boot_id")
                .await
                .is_ok_and(|id| id.trim() != boot_id)
        {
            break;
        }
    }
    says(&machine, "echo kept >/etc/karat-test; dd if=/dev/urandom of=/var/big bs=1M count=40 2>&1; sync; rm /var/big").await;

    machine.clean_up().await.unwrap();
    let overlays = machine.shut_down(SHUTDOWN_LIMIT).await.unwrap();
    let image = site.path("image.qcow2");
    let start = Instant::now();
    let finished = disk::convert(&overlays[0], Format::Qcow2, &image, &Ui::default())
        .await
        .unwrap();
    eprintln!(
        "finished in {:.1} s: {} MiB",
        start.elapsed().as_secs_f64(),
        finished.size >> 20
    );
    assert_eq!(finished.size, image.metadata().unwrap().len());

    let again = BaseImage {
        path: image,
        format: "qcow2".into(),
    };
    let plan = Qemu {
        disk_size: None,
        ..plan
    };
    let machine = boot(&site, "again", &plan, &ssh(), &again).await;
    assert_eq!(says(&machine, "cat /etc/karat-test").await, "kept");
    let left = "ls /home/builder/.ssh/authorized_keys /etc/sudoers.d/90-cloud-init-users 2>/dev/null; \
                ls /var/lib/cloud/instances | wc -l; wc -l </root/.ssh/authorized_keys; ls /etc/ssh/*_key";
    let expected = "1\n1\n/etc/ssh/ssh_host_ed25519_key";
    assert_eq!(
        says(&machine, left).await,
        expected,
        "nothing of the first build is left"
    );

    machine.clean_up().await.unwrap();
    let left = "ls /etc/ssh/*_key /etc/ssh/*_key.pub /root/.ssh/authorized_keys /var/lib/cloud/instance 2>/dev/null; \
                cat /etc/machine-id; find /var/log -type f -size +0";
    assert_eq!(says(&machine, left).await, "");
    machine.destroy().await;
}

#[tokio::test]
async fn a_real_panic_is_told() {
    let base = base().await;
    let site = Site::new();
    let machine = boot(&site, "run", &qemu(), &ssh(), &base).await;
    let mut death = machine.death();
    let start = Instant::now();
    let crash = machine.session().output("echo c >/proc/sysrq-trigger");
    tokio::select! {
        report = death.wait() => {
            assert!(report.contains("the guest's kernel panicked"), "{report}");
            assert!(start.elapsed() < Duration::from_secs(5), "told after {:?}", start.elapsed());
        }
        () = async { let _lost = crash.await; tokio::time::sleep(Duration::from_secs(30)).await } => panic!("not told"),
    }
    machine.destroy().await;
}
