//! Running the programs of a bootstrap, with their output shown as it comes.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use crate::ui::Ui;
use crate::ui::report::Tail;

/// Last lines of a failed program's output that an error carries.
const TAIL_LINES: usize = 20;

/// Exit status of a program, and the end of its output.
pub(super) struct Ended {
    pub status: ExitStatus,
    pub tail: Tail,
}

/// Runs a program and shows each line of stdout and stderr.
pub(super) async fn run(command: &mut Command, ui: &Ui) -> io::Result<Ended> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let tail = std::cell::RefCell::new(VecDeque::new());
    let show = |line: String| {
        ui.output(&line);
        let mut tail = tail.borrow_mut();
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    };
    tokio::try_join!(each_line(out, &show), each_line(err, &show))?;
    let status = child.wait().await?;
    Ok(Ended {
        status,
        tail: Tail(tail.into_inner().into()),
    })
}

async fn each_line(from: Option<impl AsyncRead + Unpin>, show: &impl Fn(String)) -> io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line);
        // A carriage return overwrites a progress line, so only its last state is shown.
        let last = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if !last.is_empty() {
            show(last.to_owned());
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::child::command;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(future)
    }

    #[test]
    fn output_and_status_come_back() {
        let script = "printf 'one\\ntwo\\n'; printf '1%%\\r2%%\\n' >&2; printf last; exit 3";
        let ended = block_on(async {
            run(command("sh").args(["-c", script]), &Ui::default())
                .await
                .unwrap()
        });
        assert_eq!(ended.status.code(), Some(3));
        for line in ["one", "two", "2%", "last"] {
            assert!(
                ended.tail.0.iter().any(|found| found == line),
                "{line} in {}",
                ended.tail
            );
        }
    }

    #[test]
    fn only_the_end_of_long_output_is_kept() {
        let ended = block_on(async {
            run(command("seq").arg("1000"), &Ui::default())
                .await
                .unwrap()
        });
        assert_eq!(ended.tail.0.len(), TAIL_LINES);
        assert_eq!(ended.tail.0.last().unwrap(), "1000");
    }

    #[test]
    fn a_dropped_run_takes_its_processes_along() {
        let scratch = tempfile::tempdir().unwrap();
        let pid_file = scratch.path().join("pid");
        block_on(async {
            let script = format!("echo $$ > {}; exec sleep 1000", pid_file.display());
            let mut sleeper = command("sh");
            let command = sleeper.args(["-c", &script]);
            let ui = Ui::default();
            let limit = std::time::Duration::from_millis(500);
            assert!(
                tokio::time::timeout(limit, run(command, &ui))
                    .await
                    .is_err()
            );
            tokio::time::sleep(limit).await;
        });
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}
