//! How guests end, by themselves and when told to; nothing is left over.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karat::disk::BaseImage;
use karat::machine::qemu::{QemuError, QemuMachine, end_leftover};
use karat::machine::{Machine as _, MachineError};
use karat::ui::Ui;
use rustix::process::{Pid, Signal, kill_process};

use super::support::boot_sector::{self, Act};
use super::{Site, is_gone_within, lives, qemu, recorded_pid, ssh};

/// A death is told within this.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// The firmware takes a while on a loaded machine.
const BOOTED_WITHIN: Duration = Duration::from_mins(1);

async fn console_shows(machine: &QemuMachine, text: &str) {
    let shown = async {
        while !std::fs::read_to_string(machine.console())
            .is_ok_and(|console| console.contains(text))
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOOTED_WITHIN, shown)
        .await
        .expect("the guest did not boot");
}

#[tokio::test]
async fn a_death_is_told_at_once_with_its_cause_and_the_console() {
    for (text, act, cause) in [
        (
            "going off\r\n",
            Act::PowerOff,
            "the guest powered off by itself",
        ),
        ("oops\r\n", Act::Panic, "the guest's kernel panicked"),
        (
            "Kernel panic - not syncing: VFS\r\n",
            Act::Hang,
            "the guest's kernel panicked",
        ),
    ] {
        let site = Site::new();
        let base = boot_sector::write(&site.path("base.img"), text, act);
        let machine = site.launch(&qemu(), &base).await.unwrap();
        let pid = recorded_pid(&site.run());
        let mut death = machine.death();
        console_shows(&machine, text.trim_end()).await;
        let report = tokio::time::timeout(TOLD_WITHIN, death.wait())
            .await
            .expect(cause);
        assert!(
            report.contains(cause) && report.contains(text.trim_end()),
            "{report}"
        );
        machine.destroy().await;
        assert!(!lives(pid));
    }
}

#[tokio::test]
async fn a_killed_qemu_is_told_at_once_also_while_waiting_for_ssh() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
    let mut machine = site.launch(&qemu(), &base).await.unwrap();
    console_shows(&machine, "up").await;
    let pid = Pid::from_raw(recorded_pid(&site.run())).unwrap();
    let killed = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        kill_process(pid, Signal::KILL).unwrap();
        Instant::now()
    };
    let ui = Ui::default();
    let (ready, killed) = tokio::join!(machine.wait_ready(Duration::from_mins(1), &ui), killed);
    assert!(killed.elapsed() < TOLD_WITHIN);
    match ready {
        Err(MachineError::Died(report)) => {
            assert!(report.contains("QEMU was killed by signal 9"), "{report}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reset_is_no_death_and_a_silent_guest_is_told_with_its_console() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "again\r\n", Act::Reset);
    let mut machine = site.launch(&qemu(), &base).await.unwrap();
    console_shows(&machine, "again\r\nagain\r\n").await;
    let error = machine
        .wait_ready(Duration::from_secs(2), &Ui::default())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            &error,
            MachineError::Backend(error)
                if matches!(error.downcast_ref(), Some(QemuError::NotReady { .. }))
        ),
        "{error:?}"
    );
    assert!(text.contains("again"), "{text}");
    machine.destroy().await;
}

#[tokio::test]
async fn a_guest_that_does_not_shut_down_is_ended_and_its_disk_is_not_used() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
    let machine = site.launch(&qemu(), &base).await.unwrap();
    console_shows(&machine, "up").await;
    let pid = recorded_pid(&site.run());
    let forced = machine.shut_down(Duration::from_secs(1)).await;
    assert!(
        matches!(forced, Err(QemuError::Forced { .. })),
        "{forced:?}"
    );
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_dropped_machine_is_gone() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
    let machine = site.launch(&qemu(), &base).await.unwrap();
    let pid = recorded_pid(&site.run());
    assert!(lives(pid));
    drop(machine);
    assert!(is_gone_within(pid, TOLD_WITHIN));
}

/// The test runs itself again as the parent that is killed.
#[tokio::test]
async fn qemu_dies_with_a_killed_parent() {
    const SITE: &str = "KARAT_TEST_KILLED_PARENT";
    const NAME: &str = "endings::qemu_dies_with_a_killed_parent";
    if let Some(directory) = std::env::var_os(SITE) {
        let directory = std::path::PathBuf::from(directory);
        let base = BaseImage {
            path: directory.join("base.img"),
            format: "raw".into(),
        };
        let run = directory.join("run");
        let connections = karat::machine::qemu::Connections::default();
        let ui = Ui::default();
        let _machine =
            karat::machine::qemu::launch(&qemu(), &ssh(), &connections, &base, None, &run, &ui)
                .await
                .unwrap();
        std::fs::write(directory.join("launched"), "").unwrap();
        std::future::pending::<()>().await;
    }
    let site = Site::new();
    boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(SITE, site.path(""))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !site.path("launched").exists() {
        assert!(
            start.elapsed() < BOOTED_WITHIN && parent.try_wait().unwrap().is_none(),
            "it did not launch"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = recorded_pid(&site.run());
    assert!(lives(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(is_gone_within(pid, TOLD_WITHIN), "QEMU outlived its parent");
    assert!(
        !end_leftover(&site.run()).unwrap(),
        "there is nothing left to end"
    );
}

#[tokio::test]
async fn a_leftover_qemu_is_found_and_ended() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
    let machine = site.launch(&qemu(), &base).await.unwrap();
    let pid = recorded_pid(&site.run());
    let mut death = machine.death();
    let run = site.run();
    let ended = tokio::task::spawn_blocking(move || end_leftover(&run))
        .await
        .unwrap()
        .unwrap();
    assert!(ended);
    tokio::time::timeout(TOLD_WITHIN, death.wait())
        .await
        .unwrap();
    assert!(!lives(pid));
}

#[tokio::test]
async fn ports_of_a_range_are_shared_without_collision() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .min(65_000);
    let (first, last) = (free, free + 2);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", first)).unwrap();
    let ssh = karat::plan::Ssh {
        ports: Some((first, last)),
        ..ssh()
    };
    let sites = [Site::new(), Site::new(), Site::new()];
    let mut machines = Vec::new();
    for site in &sites {
        let base = boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
        machines.push(site.launch_with(&qemu(), &ssh, &base).await);
    }
    let ports: Vec<_> = machines
        .iter()
        .map(|machine| machine.as_ref().ok().map(|it| it.target().port))
        .collect();
    assert_eq!(ports, [Some(first + 1), Some(last), None], "{machines:?}");
    assert!(matches!(
        machines.pop().unwrap(),
        Err(QemuError::NoPort { .. })
    ));
    for machine in machines {
        machine.unwrap().destroy().await;
    }
}

#[tokio::test]
async fn what_qemu_complains_about_is_in_the_error() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "up\r\n", Act::Hang);
    let plan = karat::plan::Qemu {
        extra_args: vec!["-device".into(), "no-such-device".into()],
        ..qemu()
    };
    let error = site.launch(&plan, &base).await.unwrap_err().to_string();
    assert!(
        error.contains("exited with code 1") && error.contains("no-such-device"),
        "{error}"
    );
}

#[tokio::test]
async fn uefi_firmware_runs_with_its_own_copy_of_the_variables() {
    let site = Site::new();
    let base = boot_sector::write(&site.path("base.img"), "not for UEFI\r\n", Act::Hang);
    let plan = karat::plan::Qemu {
        firmware: karat::plan::Firmware::Uefi,
        ..qemu()
    };
    let machine = site.launch(&plan, &base).await.unwrap();
    console_shows(&machine, "BdsDxe").await;
    assert!(site.run().join("vars.fd").metadata().unwrap().len() > 0);
    machine.destroy().await;
}
