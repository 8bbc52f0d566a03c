//! Progress of cloud-init, read from the status file that it keeps in the guest.
//!
//! `cloud-init status --wait` reports the same, but starts Python once more, which takes 4 to 7 seconds under emulation.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::GuestError;
use crate::machine::MachineError;
use crate::ssh::{Session, SshError};
use crate::ui::Ui;

const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Script that prints the status file; nothing if cloud-init is not installed or does not run in this boot.
const STATUS: &str = "\
if command -v cloud-init >/dev/null 2>&1 && [ ! -e /etc/cloud/cloud-init.disabled ] && [ ! -e /run/cloud-init/disabled ]; then
    cat /run/cloud-init/status.json 2>/dev/null || echo '{}'
fi";

/// Script that writes the result file. The stages that the seed cancels would have written it; without it, `cloud-init status
/// --wait` in a step of the template would wait for ever.
const WRITE_RESULT: &str = "\
if [ -d /run/cloud-init ] && [ ! -e /run/cloud-init/result.json ]; then
    echo '{\"v1\": {\"datasource\": \"DataSource\", \"errors\": []}}' >/run/cloud-init/result.json
fi";

#[derive(PartialEq, Eq, Debug)]
enum Progress {
    Running,
    Done {
        errors: Vec<String>,
        warnings: Vec<String>,
    },
}

/// Waits until cloud-init has done what the user data tells it. Problems that it recovered from are warnings.
pub(super) async fn wait(session: &Session, within: Duration, ui: &Ui) -> Result<(), MachineError> {
    let done = timeout(within, async {
        loop {
            match progress(&session.output(STATUS).await?) {
                Progress::Running => sleep(POLL_INTERVAL).await,
                Progress::Done { errors, warnings } => {
                    session.output(WRITE_RESULT).await?;
                    return Ok::<_, SshError>((errors, warnings));
                }
            }
        }
    });
    let Ok(problems) = done.await else {
        return Err(GuestError::CloudInitSlow { within }.into());
    };
    let (errors, warnings) = problems?;
    for warning in warnings {
        ui.warn(&format!("cloud-init: {warning}"));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let problems = errors.join("; ");
    Err(GuestError::CloudInit { problems }.into())
}

/// Reads the status file. The user data is handled in the local stage; a guest whose datasource needs the network handles it in a
/// later one.
fn progress(text: &str) -> Progress {
    if text.trim().is_empty() {
        return Progress::Done {
            errors: Vec::new(),
            warnings: Vec::new(),
        };
    }
    // It may be read while it is being replaced.
    let Ok(status) = serde_json::from_str::<Value>(text) else {
        return Progress::Running;
    };
    let status = &status["v1"];
    let finished = |stage: &str| {
        status[stage]["finished"]
            .as_f64()
            .is_some_and(|when| when > 0.0)
    };
    let is_local = status["datasource"]
        .as_str()
        .is_some_and(|source| source.contains("dsmode=local"));
    if !(finished("init") || finished("modules-final") || is_local && finished("init-local")) {
        return Progress::Running;
    }
    let stages =
        || ["init-local", "init", "modules-config", "modules-final"].map(|stage| &status[stage]);
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts
            .map(|text| {
                text.as_str()
                    .map_or_else(|| text.to_string(), str::to_owned)
            })
            .collect()
    };
    Progress::Done {
        errors: stages()
            .iter()
            .flat_map(|stage| texts(&stage["errors"]))
            .collect(),
        warnings: stages()
            .iter()
            .filter_map(|stage| stage["recoverable_errors"].as_object())
            .flat_map(|kinds| kinds.values().flat_map(texts))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_is_understood() {
        let done = |errors: &[&str], warnings: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
            Progress::Done {
                errors: owned(errors),
                warnings: owned(warnings),
            }
        };
        for (text, expected) in [
            ("", done(&[], &[])),
            ("{}", Progress::Running),
            ("{\"v1\": {\"init", Progress::Running),
            (
                r#"{"v1": {"stage": "init-local", "init-local": {"start": 1.5, "finished": null}}}"#,
                Progress::Running,
            ),
            (
                r#"{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb][dsmode=local]", "init-local": {"finished": 3.5, "errors": []}}}"#,
                done(&[], &[]),
            ),
            (
                r#"{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb][dsmode=net]", "init-local": {"finished": 3.5}}}"#,
                Progress::Running,
            ),
            (
                r#"{"v1": {"datasource": "x", "init-local": {"finished": 3.5, "errors": ["no"]},
                    "init": {"finished": 9.0, "errors": [], "recoverable_errors": {"WARNING": ["old key"]}}}}"#,
                done(&["no"], &["old key"]),
            ),
        ] {
            assert_eq!(progress(text), expected, "{text}");
        }
    }
}
