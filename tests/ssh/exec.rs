//! Running commands.

use std::time::{Duration, Instant};

use karat::ssh::{Exit, SshError};

use crate::support::sshd::Sshd;
use crate::{chain, login};

fn code(code: u32) -> Exit {
    Exit {
        code: Some(code),
        signal: None,
    }
}

#[tokio::test]
async fn commands_tell_their_exit_their_lines_and_get_their_stdin() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let signal = Exit {
        code: None,
        signal: Some("KILL".to_owned()),
    };
    let unread = vec![b'x'; 100_000];
    let cases: [(&str, &[u8], Exit, &[&str]); 8] = [
        ("true", b"", code(0), &[]),
        ("exit 7", b"", code(7), &[]),
        ("kill -9 $$", b"", signal, &[]),
        ("cat", b"from stdin\nlast", code(0), &["from stdin", "last"]),
        (
            "echo out; sleep 0.2; echo err >&2",
            b"",
            code(0),
            &["out", "err"],
        ),
        (
            "printf '1%%\\r2%%\\rdone\\n\\377'",
            b"",
            code(0),
            &["1%", "2%", "done", "\u{fffd}"],
        ),
        ("echo \"it's $((1 + 1))\"", b"", code(0), &["it's 2"]),
        ("id -un; exec 0<&-; sleep 0.1", &unread, code(0), &["root"]),
    ];
    for (command, stdin, expected, lines) in cases {
        let mut seen = Vec::new();
        let exit = session
            .exec(command, stdin, &mut |line| seen.push(line.to_owned()))
            .await;
        assert_eq!(exit.unwrap(), expected, "{command}");
        assert_eq!(seen, lines, "{command}");
    }
}

#[tokio::test]
async fn much_input_and_output_pass_unchanged() {
    let sshd = Sshd::with("RekeyLimit 4M");
    let session = login(&sshd).await;
    let stdin: Vec<u8> = (0..2_000_000_u32)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    let mut next = 0_u32;
    let exit = session
        .exec("cat", &stdin, &mut |line| {
            assert_eq!(line, next.to_string());
            next += 1;
        })
        .await
        .unwrap();
    assert_eq!((exit, next), (code(0), 2_000_000));
}

#[tokio::test]
async fn output_needs_success() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    assert_eq!(session.output("printf 'a\\nb'").await.unwrap(), "a\nb");
    let error = session.output("echo why >&2; exit 3").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`echo why >&2; exit 3` exited with code 3: why"
    );
}

#[tokio::test]
async fn a_daemon_that_keeps_its_output_open_does_not_hold_up_the_step() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let start = Instant::now();
    let exit = session
        .exec("sleep 20 & echo started", b"", &mut |_| ())
        .await
        .unwrap();
    assert_eq!(exit, code(0));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_dropped_line_is_told_from_an_exit() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    assert!(session.is_open());
    let mut lines = 0;
    let error = session
        .exec("echo started; sleep 30", b"", &mut |_| {
            lines += 1;
            sshd.drop_connections();
        })
        .await
        .unwrap_err();
    assert_eq!(lines, 1);
    assert!(
        matches!(error, SshError::Disconnected { .. }),
        "{}",
        chain(&error)
    );
    assert!(!session.is_open());
    let after = session.exec("true", b"", &mut |_| ()).await.unwrap_err();
    assert!(
        matches!(after, SshError::Disconnected { .. }),
        "{}",
        chain(&after)
    );
}

#[tokio::test]
async fn a_command_given_up_leaves_the_session_usable() {
    let sshd = Sshd::start();
    let session = login(&sshd).await;
    let (stdin, mut ignore) = (vec![0; 50 << 20], |_: &str| ());
    let running = session.exec("head -c 1000; sleep 30", &stdin, &mut ignore);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), running)
            .await
            .is_err()
    );
    assert_eq!(
        session.output("echo still here").await.unwrap(),
        "still here\n"
    );
}
