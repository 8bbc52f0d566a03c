//! End of a guest's boot: sshd answers long before all services are up.

use std::time::Duration;

use tokio::time::timeout;

use crate::machine::MachineError;
use crate::ssh::Session;
use crate::ui::Ui;

/// Script that waits until no start job is left and prints the units that failed. Without systemd it does nothing.
const WAIT_SETTLED: &str = "\
if [ -d /run/systemd/system ]; then
    systemctl is-system-running --wait >/dev/null 2>&1 || :
    systemctl list-units --state=failed --plain --no-legend --no-pager 2>/dev/null || :
fi";

/// Waits for the end of the boot. Failed units and a boot that does not end are warnings: the template's tests decide.
pub(super) async fn settled(
    session: &Session,
    within: Duration,
    ui: &Ui,
) -> Result<(), MachineError> {
    match timeout(within, session.output(WAIT_SETTLED)).await {
        Ok(failed) => {
            for unit in units(&failed?) {
                ui.warn(&format!("unit {unit} failed when the guest booted"));
            }
        }
        Err(_) => ui.warn(&format!(
            "the guest is still starting services after {} s",
            within.as_secs()
        )),
    }
    Ok(())
}

/// Returns the first column of `systemctl list-units`.
fn units(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_units_are_named() {
        let list = "nginx.service loaded failed failed A high performance web server\na.mount loaded failed failed x\n";
        let named: Vec<_> = units(list).collect();
        assert_eq!(named, ["nginx.service", "a.mount"]);
        assert_eq!(units("\n").count(), 0);
    }
}
