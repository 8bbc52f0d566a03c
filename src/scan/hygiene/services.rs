//! Obsolete network services, and units that log in or open a shell without a password.

use super::lists::LISTS;
use super::text::lines;
use super::{HygieneScan, ScanError};
use crate::disk::read::FileType;
use crate::disk::tree::Content;

const UNITS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

/// Applets of `BusyBox`, which are all in one program.
const APPLETS: [&str; 5] = ["telnetd", "rlogind", "rshd", "rexecd", "fingerd"];

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    for (path, service) in &LISTS.legacy_services {
        if scan.root.resolve(path.as_bytes()).is_some() {
            let evidence = format!("a server for {service}");
            scan.report("legacy-service", path.as_bytes(), evidence);
        }
    }
    let root = scan.root;
    for (path, index) in root.tree().below(b"/etc/systemd/system") {
        let has = |part: &[u8]| memchr::memmem::find(path, part).is_some();
        if path.ends_with(b"/debug-shell.service")
            && (has(b".wants/") || has(b".requires/"))
            && matches!(root.tree().files()[index].content, Content::Link(_))
        {
            let evidence = "a root shell on a console, without a password, early in the boot";
            scan.report("debug-shell", path, evidence);
        }
    }
    for (path, index) in UNITS
        .iter()
        .flat_map(|unit| root.tree().below(unit.as_bytes()))
    {
        let file = &root.tree().files()[index];
        if file.kind == FileType::File && scan.owners.package_of(path).is_none() {
            let text = root.content(path, file, super::MAX_FILE_BYTES)?;
            unit(scan, path, &String::from_utf8_lossy(&text));
        }
    }
    Ok(())
}

/// Checks a unit or drop-in that belongs to no package.
fn unit(scan: &mut HygieneScan<'_>, path: &[u8], text: &str) {
    let runs_server = |line: &str| {
        let mut words = line.split(['=', ' ', '/', '\t']);
        line.starts_with("Exec")
            && words.any(|word| APPLETS.contains(&word.trim_start_matches("in.")))
    };
    if let Some((number, _)) = lines(text).find(|(_, line)| runs_server(line)) {
        let evidence = format!("line {number}: a server without encryption");
        scan.report("legacy-service", path, evidence);
    }
    let logs_in = |line: &str| line.contains("--autologin") || line.contains(" -a ");
    if memchr::memmem::find(path, b"getty").is_some()
        && let Some((number, _)) = lines(text).find(|(_, line)| logs_in(line))
    {
        let evidence = format!("line {number}: a user is logged in without a password");
        scan.report("autologin", path, evidence);
    }
}
