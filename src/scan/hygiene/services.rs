//! Programs that nobody should offer any more, and ways in that a unit opens.

use super::text::lines;
use super::{Look, ScanError};
use crate::disk::tree::Content;

/// What listens without encryption, or hands out what it should not.
const LEGACY: [(&str, &str); 24] = [
    ("/usr/sbin/in.telnetd", "telnet"),
    ("/usr/sbin/telnetd", "telnet"),
    ("/usr/sbin/in.rshd", "rsh"),
    ("/usr/sbin/in.rlogind", "rlogin"),
    ("/usr/sbin/in.rexecd", "rexec"),
    ("/usr/sbin/rshd", "rsh"),
    ("/usr/sbin/rlogind", "rlogin"),
    ("/usr/sbin/in.tftpd", "TFTP"),
    ("/usr/sbin/atftpd", "TFTP"),
    ("/usr/sbin/tftpd", "TFTP"),
    ("/usr/sbin/in.fingerd", "finger"),
    ("/usr/sbin/in.talkd", "talk"),
    ("/usr/sbin/in.ntalkd", "talk"),
    ("/usr/sbin/ypserv", "NIS"),
    ("/usr/sbin/ypbind", "NIS"),
    ("/usr/sbin/inetd", "inetd"),
    ("/usr/sbin/xinetd", "xinetd"),
    ("/usr/sbin/inetutils-inetd", "inetd"),
    ("/usr/sbin/inetutils-telnetd", "telnet"),
    ("/usr/sbin/rexecd", "rexec"),
    ("/usr/sbin/in.uucpd", "UUCP"),
    ("/usr/sbin/uucpd", "UUCP"),
    ("/usr/sbin/fingerd", "finger"),
    ("/usr/sbin/talkd", "talk"),
];
const UNITS: [&str; 2] = ["/etc/systemd/system", "/usr/lib/systemd/system"];

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    for (path, service) in LEGACY {
        if look.root.resolve(path.as_bytes()).is_some() {
            look.report(
                "legacy-service",
                path.as_bytes(),
                format!("a server for {service}"),
            );
        }
    }
    let root = look.root;
    for (path, index) in root.tree().below(b"/etc/systemd/system") {
        let file = &root.tree().files()[index];
        let wanted = path.windows(7).any(|part| part == b".wants/")
            || path.windows(10).any(|part| part == b".requires/");
        if wanted
            && path.ends_with(b"/debug-shell.service")
            && matches!(file.content, Content::Link(_))
        {
            look.report(
                "debug-shell",
                path,
                "a root shell on a console, without a password, from the first second",
            );
        }
    }
    for place in UNITS {
        for (path, index) in root.tree().below(place.as_bytes()) {
            let file = &root.tree().files()[index];
            if look.owners.of(path).is_some() || file.kind != crate::disk::read::Kind::File {
                continue;
            }
            let text = root.content(path, file, super::LARGEST)?;
            let text = String::from_utf8_lossy(&text);
            // BusyBox has them all in one program.
            let old = ["telnetd", "rlogind", "rshd", "rexecd", "fingerd"];
            let runs = |line: &str| {
                let mut words = line.split(['=', ' ', '/', '\t']);
                line.starts_with("Exec")
                    && words.any(|word| old.contains(&word.trim_start_matches("in.")))
            };
            if let Some((number, _)) = lines(&text).find(|(_, line)| runs(line)) {
                let evidence = format!("line {number}: a server without encryption");
                look.report("legacy-service", path, evidence);
            }
            if !path.windows(5).any(|part| part == b"getty") {
                continue;
            }
            let by_itself = |line: &str| line.contains("--autologin") || line.contains(" -a ");
            if let Some((number, _)) = lines(&text).find(|(_, line)| by_itself(line)) {
                look.report(
                    "autologin",
                    path,
                    format!("line {number}: somebody is logged in without a password"),
                );
            }
        }
    }
    Ok(())
}
