//! `retries`, `pause_before`, the machine's death, and `on_error`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use karat::plan::Action;
use karat::provision::{self, FailedStep, ProvisionError};
use karat::secret::Secrets;

use crate::machine::{TestMachine, context, other, told};

#[tokio::test]
async fn a_step_is_tried_again_until_it_succeeds() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell("echo try >>$D/tries; [ $(wc -l <$D/tries) -ge 2 ]");
    step.retries = 3;
    machine.run(&step).await.unwrap();
    assert_eq!(machine.read("tries").lines().count(), 2);
}

#[tokio::test]
async fn the_last_error_is_reported_when_no_try_succeeds() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell("echo try >>$D/tries; exit $(wc -l <$D/tries)");
    step.retries = 2;
    step.pause_before = Duration::from_millis(10);
    let said = told(&machine.run(&step).await.unwrap_err());
    assert!(
        said.starts_with("the step \"a step\" failed 3 times; the last time\n"),
        "{said}"
    );
    assert!(said.contains("exit code 3"), "{said}");
}

#[tokio::test]
async fn a_try_after_a_drop_has_a_new_connection() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell(
        "[ ! -e $D/dropped ] || exit 0; touch $D/dropped; p=$PPID
        while ! grep -q sshd /proc/$p/comm; do read -r _ _ _ p _ </proc/$p/stat; done; kill -9 $p; sleep 9",
    );
    step.retries = 1;
    machine.run(&step).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_dies_ends_the_step_at_once() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell("sleep 4");
    step.retries = 5;
    let died = machine.died.clone();
    let begun = Instant::now();
    let (result, ()) = tokio::join!(machine.run(&step), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        died.send_replace(Some("Kernel panic - not syncing".to_owned()));
    });
    let said = told(&result.unwrap_err());
    assert!(
        said.contains("the machine died: Kernel panic - not syncing"),
        "{said}"
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_pause_waits_and_can_be_cancelled() {
    let mut machine = TestMachine::new().await;
    let begun = Instant::now();
    machine
        .run(&other("pause", Action::Pause(Duration::from_millis(200))))
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let mut step = machine.shell("touch $D/ran");
    step.pause_before = Duration::from_hours(1);
    let begun = Instant::now();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), machine.run(&step))
            .await
            .is_err()
    );
    assert!(begun.elapsed() < Duration::from_secs(1) && !machine.path("ran").exists());
}

#[tokio::test]
async fn on_error_steps_hear_of_the_failure_and_never_mask_it() {
    let mut machine = TestMachine::new().await;
    let steps = [
        machine.shell("exit 1"),
        machine.shell("printf '%s|%s' \"$KARAT_FAILED_STEP\" \"$KARAT_ERROR\" >$D/heard"),
    ];
    let failure = FailedStep {
        step: "harden",
        error: "it's \"broken\"\nhere",
    };
    let (variables, secrets) = (BTreeMap::new(), Secrets::default());
    provision::on_error(
        &mut machine,
        &steps,
        failure,
        &context(&variables, &secrets),
    )
    .await;
    assert_eq!(machine.read("heard"), "harden|it's \"broken\"\nhere");
}

#[tokio::test]
async fn a_test_command_runs_with_a_strict_shell() {
    let mut machine = TestMachine::new().await;
    let (variables, secrets) = (BTreeMap::new(), Secrets::default());
    for (command, good) in [
        ("true", true),
        ("false; true", false),
        ("echo $unset", false),
    ] {
        let test = karat::plan::Test {
            name: command.to_owned(),
            command: command.to_owned(),
            timeout: Duration::from_secs(10),
            place: karat::plan::Place::default(),
        };
        let result = provision::test(&mut machine, &test, &context(&variables, &secrets)).await;
        assert_eq!(result.is_ok(), good, "{command}");
        assert!(good || matches!(result, Err(ProvisionError::Step { .. })));
    }
}
