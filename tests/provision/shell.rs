//! The `shell` step.

use std::path::Path;
use std::time::{Duration, Instant};

use karat::plan::{Script, Step};
use karat::provision::{self, ProvisionError};
use karat::secret::{Secrets, Text, TextPart};

use crate::machine::{TestMachine, context, lives, shell, soon, step, told};

/// Ends the process that serves the connection of the script that has this line.
const DROP: &str = "p=$PPID; while ! grep -q sshd /proc/$p/comm; do read -r _ _ _ p _ </proc/$p/stat; done; kill -9 $p";

fn cause(result: Result<(), ProvisionError>) -> ProvisionError {
    match result {
        Err(ProvisionError::Step { source, .. }) => *source,
        other => panic!("a failed step was expected, not {other:?}"),
    }
}

fn file(path: impl AsRef<Path>) -> Step {
    step("a file", Script::Path(path.as_ref().to_owned()))
}

#[tokio::test]
async fn twenty_steps_run_in_order() {
    let mut machine = TestMachine::new().await;
    for number in 0..20 {
        let step = machine.shell(&format!("echo {number} >>$D/order"));
        machine.run(&step).await.unwrap();
    }
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(machine.read("order").lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn environment_values_arrive_byte_for_byte() {
    let mut machine = TestMachine::new().await;
    let hard = "it's \"two\" $HOME `id` \\n\nlines\t ☃ ünï\n\n";
    machine
        .variables
        .insert("worker-count".to_owned(), hard.to_owned());
    machine
        .secrets
        .insert("token".to_owned(), "s3cret $x".to_owned().into());
    let mut step = machine.shell(
        r#"for n in A B KARAT_VAR_WORKER_COUNT KARAT_SECRET_TOKEN KARAT_STEP LC_ALL TZ DEBIAN_FRONTEND; do
        eval "printf %s \"\$$n\"" >$D/$n; done"#,
    );
    step.name = "the 'hard' one".to_owned();
    shell(&mut step)
        .environment
        .insert("A".to_owned(), Text::literal(hard));
    let with_secret = vec![
        TextPart::Literal("a=".to_owned()),
        TextPart::Secret("token".to_owned()),
    ];
    shell(&mut step)
        .environment
        .insert("B".to_owned(), Text::new(with_secret));
    machine.run(&step).await.unwrap();
    for (name, value) in [
        ("A", hard),
        ("B", "a=s3cret $x"),
        ("KARAT_VAR_WORKER_COUNT", hard),
        ("KARAT_SECRET_TOKEN", "s3cret $x"),
        ("KARAT_STEP", "the 'hard' one"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ] {
        assert_eq!(machine.read(name), value, "{name}");
    }
}

#[tokio::test]
async fn bad_names_of_environment_variables_are_refused() {
    let mut machine = TestMachine::new().await;
    for name in ["bad var", "=bad", "", "a-b"] {
        let mut step = machine.shell("touch $D/ran");
        shell(&mut step)
            .environment
            .insert(name.to_owned(), Text::literal("x"));
        let error = cause(machine.run(&step).await);
        assert!(
            matches!(&error, ProvisionError::VariableName(said) if said == name),
            "{error:?}"
        );
    }
    let mut step = machine.shell("printf %s \"$a\" >$D/a");
    shell(&mut step)
        .environment
        .insert("a".to_owned(), Text::literal("b=c"));
    machine.run(&step).await.unwrap();
    assert_eq!(machine.read("a"), "b=c");
    assert!(!machine.path("ran").exists());
}

#[tokio::test]
async fn no_secret_and_no_script_is_on_a_command_line() {
    let mut machine = TestMachine::new().await;
    machine
        .secrets
        .insert("token".to_owned(), "visible-to-nobody".to_owned().into());
    let step = machine
        .shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' >$D/lines; : in-the-script");
    machine.run(&step).await.unwrap();
    let lines = machine.read("lines");
    assert!(
        lines.contains("karat")
            && !lines.contains("visible-to-nobody")
            && !lines.contains("in-the-script")
    );
}

#[tokio::test]
async fn a_script_runs_with_its_own_interpreter_or_a_strict_shell() {
    let mut machine = TestMachine::new().await;
    let dir = machine.dir.path().display().to_string();
    for (name, text) in [
        (
            "default",
            format!("case $- in *e*u* | *u*e*) echo strict >{dir}/default.out ;; esac\n"),
        ),
        (
            "bash",
            format!("#!/bin/bash\necho \"${{BASH_VERSION:+bash}}\" >{dir}/bash.out\n"),
        ),
        (
            "perl",
            format!("#!/usr/bin/env perl\nopen F, '>{dir}/perl.out'; print F 'perl';\n"),
        ),
        ("sh", format!("#!/bin/sh -u\necho \"$-\" >{dir}/sh.out\n")),
    ] {
        let path = machine.write(name, text);
        machine.run(&file(path)).await.unwrap();
    }
    machine.run(&file("/bin/true")).await.unwrap();
    let outs = ["default.out", "bash.out", "perl.out", "sh.out"]
        .map(|name| machine.read(name).trim().to_owned());
    assert_eq!(outs, ["strict", "bash", "perl", "u"]);
    let stops = machine.shell("false\ntouch $D/went-on");
    assert!(matches!(
        cause(machine.run(&stops).await),
        ProvisionError::Exit { code: Some(1), .. }
    ));
    assert!(!machine.path("went-on").exists());
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let mut machine = TestMachine::new().await;
    for (line, name) in [
        ("#!/opt/none/python9", "/opt/none/python9"),
        ("#!/usr/bin/env python9", "python9"),
    ] {
        let path = machine.write("script", format!("{line}\n"));
        let error = cause(machine.run(&file(path)).await);
        assert_eq!(
            error.to_string(),
            format!("the interpreter {name} does not exist in the machine")
        );
    }
}

#[tokio::test]
async fn a_script_with_windows_line_endings_is_refused_before_it_is_sent() {
    let mut machine = TestMachine::new().await;
    let path = machine.write(
        "dos.sh",
        format!("#!/bin/sh\r\ntouch {}\r\n", machine.path("ran").display()),
    );
    let said = told(&machine.run(&file(&path)).await.unwrap_err());
    assert!(
        said.contains("dos.sh has Windows line endings") && said.contains("dos2unix"),
        "{said}"
    );
    assert!(!machine.path("ran").exists());
}

#[tokio::test]
async fn nothing_of_a_script_stays_in_the_machine() {
    let mut machine = TestMachine::new().await;
    let place = "ls -ld \"$(dirname \"$0\")\" >$D/mode; dirname \"$0\" >$D/place; pwd >$D/pwd";
    for end in [
        "exit 0",
        "exit 7",
        "kill -9 $$",
        "kill -9 $PPID; sleep 30",
        "sleep 30",
    ] {
        let mut step = machine.shell(&format!("{place}; {end}"));
        step.timeout = Duration::from_secs(2);
        let _ = machine.run(&step).await;
        let place = machine.read("place").trim().to_owned();
        assert!(
            machine.read("mode").starts_with("drwx------"),
            "{}",
            machine.read("mode")
        );
        assert_eq!(
            machine.read("pwd").trim(),
            "/root",
            "the working directory is the user's home"
        );
        assert!(place.starts_with("/run/karat-"), "{place:?}");
        soon("the directory of the script is gone", || {
            !Path::new(&place).exists()
        })
        .await;
    }
}

#[tokio::test]
async fn a_failing_step_reports_its_exit_code_and_the_end_of_its_output() {
    let mut machine = TestMachine::new().await;
    machine
        .secrets
        .insert("token".to_owned(), "hunter2!".to_owned().into());
    let step = machine
        .shell("for i in $(seq 1 40); do echo line $i; done; echo $KARAT_SECRET_TOKEN >&2; exit 9");
    let said = told(&machine.run(&step).await.unwrap_err());
    assert!(
        said.starts_with("the step \"a step\" failed\nthe script failed with exit code 9\n"),
        "{said}"
    );
    assert!(
        said.contains("line 22\n") && !said.contains("line 21\n"),
        "the last 20 lines: {said}"
    );
    assert!(
        said.contains("<secret token>") && !said.contains("hunter2!"),
        "{said}"
    );
    assert!(
        said.contains("help: correct the script, or list the code in `exit_codes`"),
        "{said}"
    );
}

#[tokio::test]
async fn exit_codes_that_the_step_allows_are_success() {
    let mut machine = TestMachine::new().await;
    for (code, allowed, good) in [
        (3, vec![0, 3], true),
        (0, vec![3], false),
        (4, vec![0, 3], false),
    ] {
        let mut step = machine.shell(&format!("exit {code}"));
        shell(&mut step).exit_codes = allowed;
        assert_eq!(machine.run(&step).await.is_ok(), good, "exit code {code}");
    }
}

#[tokio::test]
async fn a_step_runs_as_its_user_in_its_directory() {
    let mut machine = TestMachine::new().await;
    machine
        .secrets
        .insert("token".to_owned(), "s3cret".to_owned().into());
    let mut step = machine.shell(
        "id -un; id -gn; pwd; echo $HOME $USER $LOGNAME $KARAT_SECRET_TOKEN; touch /usr/mine",
    );
    shell(&mut step).user = "nobody".to_owned();
    shell(&mut step).working_directory = Some("/usr/share".to_owned());
    let said = told(&machine.run(&step).await.unwrap_err());
    assert!(
        said.contains("nobody\nnogroup\n/usr/share\n/nonexistent nobody nobody <secret token>\n"),
        "{said}"
    );
    for (user, directory, named) in [
        (
            "no-such-user",
            None,
            "the user \"no-such-user\" does not exist in the machine",
        ),
        (
            "root",
            Some("/no/such place"),
            "the working directory /no/such place does not exist",
        ),
        (
            "nobody",
            Some("/root"),
            "the working directory /root does not exist in the machine, or the step's user may not",
        ),
    ] {
        let mut step = machine.shell("true");
        shell(&mut step).user = user.to_owned();
        shell(&mut step).working_directory = directory.map(str::to_owned);
        let error = cause(machine.run(&step).await).to_string();
        assert!(error.starts_with(named), "{error}");
    }
}

#[tokio::test]
async fn a_step_reads_nothing_and_a_process_it_leaves_does_not_hold_it_up() {
    let mut machine = TestMachine::new().await;
    let begun = Instant::now();
    let step = machine.shell("cat; sleep 20 & echo $! >$D/pid");
    machine.run(&step).await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let pid = machine.read("pid");
    assert!(
        lives(&pid),
        "a process that a step leaves behind is its own affair"
    );
    std::process::Command::new("kill")
        .arg(pid.trim())
        .status()
        .unwrap();
}

#[tokio::test]
async fn a_timeout_ends_every_process_of_the_step() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell(
        "echo begun; sh -c 'trap \"\" TERM; echo $$ >$0/stubborn; sleep 60; sleep 60' $D &
        bash -mc 'sleep 61 & echo $! >$0/grouped; wait' $D & echo $$ >$D/script; sleep 62; touch $D/later",
    );
    step.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let said = told(&machine.run(&step).await.unwrap_err());
    assert!(
        said.contains("timed out after 1s and was terminated") && said.contains("begun"),
        "{said}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    for name in ["stubborn", "grouped", "script"] {
        let pid = machine.read(name);
        assert!(
            !pid.is_empty() && !lives(&pid),
            "{name} ({pid}) outlived the timeout"
        );
    }
    assert!(!machine.path("later").exists());
    let next = machine.shell("echo still here >$D/next");
    machine.run(&next).await.unwrap();
    assert_eq!(machine.read("next"), "still here\n");
}

#[tokio::test]
async fn an_unexpected_drop_fails_the_step_and_ends_its_processes() {
    let mut machine = TestMachine::new().await;
    let step = machine.shell(&format!(
        "echo $$ >$D/script; dirname \"$0\" >$D/place; {DROP}; sleep 60"
    ));
    let result = machine.run(&step).await;
    let said = told(result.as_ref().unwrap_err());
    assert!(matches!(cause(result), ProvisionError::Dropped { .. }));
    assert!(
        said.contains("if this is intended, set `expect_disconnect = true` or use a `reboot` step"),
        "{said}"
    );
    let (pid, place) = (machine.read("script"), machine.read("place"));
    soon("the script is ended", || !lives(&pid)).await;
    soon("its directory is gone", || {
        !Path::new(place.trim()).exists()
    })
    .await;
}

#[tokio::test]
async fn an_expected_drop_is_waited_out_and_the_next_step_works() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell(&format!(
        "dirname \"$0\" >$D/place; {DROP}; sleep 1; echo not heard; touch $D/finished"
    ));
    shell(&mut step).expect_disconnect = true;
    machine.run(&step).await.unwrap();
    assert!(
        machine.path("finished").exists(),
        "the next step must not run beside this one"
    );
    let place = machine.read("place");
    assert!(
        place.starts_with("/run/karat-") && !Path::new(place.trim()).exists(),
        "{place:?}"
    );
    let next = machine.shell("echo here >$D/next");
    machine.run(&next).await.unwrap();
    assert_eq!(machine.read("next"), "here\n");

    let mut fails = machine.shell(&format!("{DROP}; sleep 1; exit 6"));
    shell(&mut fails).expect_disconnect = true;
    let error = cause(machine.run(&fails).await);
    assert!(
        matches!(error, ProvisionError::Exit { code: Some(6), .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_expected_drop_that_does_not_come_is_no_failure() {
    let mut machine = TestMachine::new().await;
    let mut step = machine.shell("true");
    shell(&mut step).expect_disconnect = true;
    machine.run(&step).await.unwrap();
    let mut fails = machine.shell("exit 5");
    shell(&mut fails).expect_disconnect = true;
    assert!(matches!(
        cause(machine.run(&fails).await),
        ProvisionError::Exit { code: Some(5), .. }
    ));
}

#[tokio::test]
async fn a_build_that_is_given_up_leaves_no_process() {
    let mut machine = TestMachine::new().await;
    let step = machine.shell("dirname \"$0\" >$D/place; echo $$ >$D/script; sleep 60");
    let secrets = Secrets::default();
    let variables = std::collections::BTreeMap::new();
    let given_up = {
        let cx = context(&variables, &secrets);
        let work = provision::step(&mut machine, &step, &cx);
        tokio::time::timeout(Duration::from_millis(1500), work)
            .await
            .is_err()
    };
    assert!(given_up);
    let (pid, place) = (machine.read("script"), machine.read("place"));
    assert!(lives(&pid));
    let (_dir, _sshd) = machine.hang_up();
    soon("the script is ended", || !lives(&pid)).await;
    soon("its directory is gone", || {
        !Path::new(place.trim()).exists()
    })
    .await;
}
