//! The `reboot` step, with a `systemctl` that plays the reboot: this machine must not.

use std::time::Duration;

use karat::machine::Machine;
use karat::plan::Action;
use karat::provision::ProvisionError;

use crate::machine::{TestMachine, other, shell, told};

/// A machine whose boot id is in a file and whose reboot changes it and drops the connection.
async fn machine() -> TestMachine {
    let machine = TestMachine::new().await;
    let dir = machine.dir.path().display().to_string();
    machine.write("boot_id", "first\n");
    machine.fake(
        "cat",
        &format!("#!/bin/sh\n[ \"$1\" != /proc/sys/kernel/random/boot_id ] || set -- {dir}/boot_id\nexec /bin/cat \"$@\"\n"),
    );
    machine.fake(
        "systemctl",
        &format!(
            "#!/bin/sh
            if [ \"$1\" = is-system-running ]; then /bin/cat {dir}/state 2>/dev/null || echo running; exit; fi
            echo \"$@\" >>{dir}/told
            [ ! -e {dir}/broken ] || {{ echo no bus; exit 1; }}
            echo stopping >{dir}/state
            p=$PPID; while ! grep -q sshd /proc/$p/comm; do read -r _ _ _ p _ </proc/$p/stat; done
            (sleep 0.5; [ -e {dir}/same ] || echo second >{dir}/boot_id; rm {dir}/state; kill -9 $p) >/dev/null 2>&1 </dev/null &"
        ),
    );
    let found = machine
        .session()
        .output("command -v systemctl")
        .await
        .unwrap();
    assert_eq!(
        found.trim(),
        format!("{dir}/bin/systemctl"),
        "this machine must not reboot"
    );
    machine
}

#[tokio::test]
async fn a_reboot_is_over_when_the_boot_id_is_new() {
    let mut machine = machine().await;
    machine.run(&other("reboot", Action::Reboot)).await.unwrap();
    assert_eq!(
        (
            machine.read("told").as_str(),
            machine.read("boot_id").as_str()
        ),
        ("reboot\n", "second\n")
    );
    let next = machine.shell("touch $D/next");
    machine.run(&next).await.unwrap();
    assert!(machine.path("next").exists());
}

#[tokio::test]
async fn a_machine_that_does_not_reboot_is_an_error() {
    let mut machine = machine().await;
    machine.write("same", "");
    let mut step = other("reboot", Action::Reboot);
    step.timeout = Duration::from_secs(2);
    let said = told(&machine.run(&step).await.unwrap_err());
    assert!(
        said.contains("the machine did not come back within 2s of the reboot"),
        "{said}"
    );
    machine.write("broken", "");
    let said = told(&machine.run(&step).await.unwrap_err());
    assert!(
        said.contains("cannot reboot the machine") && said.contains("no bus"),
        "{said}"
    );
}

#[tokio::test]
async fn a_script_that_reboots_is_fine_when_a_drop_is_expected() {
    let mut machine = machine().await;
    let mut step = machine.shell("systemctl reboot");
    shell(&mut step).expect_disconnect = true;
    machine.run(&step).await.unwrap();
    assert_eq!(
        machine.read("boot_id"),
        "second\n",
        "the next step must find the machine rebooted"
    );
    let next: Result<(), ProvisionError> = machine
        .run(&other("pause", Action::Pause(Duration::ZERO)))
        .await;
    next.unwrap();
}
