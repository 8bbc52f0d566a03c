//! One walk over all names: files that betray somebody wherever they are.

use super::text::lines;
use super::{Look, ScanError, Severity};
use crate::disk::read::Kind;
use crate::disk::tree::File;

/// The marks of a private key in its first line.
const PEM: &[u8] = b"-----BEGIN ";
const PRIVATE: &[u8] = b"PRIVATE KEY";
const PUTTY: &[u8] = b"PuTTY-User-Key-File-";
/// No key is larger; a bundle of keys and certificates may be.
const LARGEST_KEY: u64 = 256 << 10;
/// The type of a core in an ELF header.
const CORE: u8 = 4;

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let root = look.root;
    for (path, index) in root.tree().paths() {
        let file = &root.tree().files()[index];
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if file.kind == Kind::Directory && name == b".git" {
            look.report("version-control", path, "the history of a source tree");
        }
        if file.kind != Kind::File || file.content.size() == 0 || look.owners.of(path).is_some() {
            continue;
        }
        by_name(look, path, name, file)?;
        by_start(look, path, name, file)?;
    }
    network(look)?;
    one(
        look,
        "ld-preload",
        "/etc/ld.so.preload",
        |_| true,
        "is loaded into every program",
    )?;
    let qemu = |line: &str| line.starts_with("nameserver 10.0.2.");
    one(
        look,
        "build-resolver",
        "/etc/resolv.conf",
        qemu,
        "the resolver of the build's network",
    )
}

fn by_name(look: &mut Look<'_>, path: &[u8], name: &[u8], file: &File) -> Result<(), ScanError> {
    let inside = |place: &[u8]| path.starts_with(place);
    let hidden = name.starts_with(b".");
    match name {
        b"authorized_keys" | b"authorized_keys2" => {
            let text = look.root.content(path, file, super::LARGEST)?;
            let keys = lines(&String::from_utf8_lossy(&text)).count();
            if keys > 0 {
                look.report("authorized-keys", path, format!("{keys} keys that log in"));
            }
        }
        b"ssh_known_hosts" | b"ssh_known_hosts2" if inside(b"/etc/ssh/") => {
            look.report("known-hosts", path, "machines that the build has talked to");
        }
        b"known_hosts" | b"known_hosts.old" if path.windows(6).any(|part| part == b"/.ssh/") => {
            look.report("known-hosts", path, "machines that the build has talked to");
        }
        b".rhosts" | b".shosts" | b"hosts.equiv" | b"shosts.equiv" => {
            look.report(
                "rhosts-file",
                path,
                "believes other machines without a password",
            );
        }
        b"user-data" | b"user-data.txt" | b"user-data.txt.i" | b"vendor-data"
        | b"vendor-data.txt" => {
            look.report(
                "cloud-user-data",
                path,
                format!("{} bytes", file.content.size()),
            );
        }
        b"preseed.cfg"
        | b"autoinstall-user-data"
        | b"anaconda-ks.cfg"
        | b"original-ks.cfg"
        | b"ks.cfg"
        | b"kickstart.cfg"
        | b"preseed.seed"
        | b"autoinstall.yaml"
        | b"unattend.xml"
        | b"questions.dat"
            if !inside(b"/usr/share/") =>
        {
            look.report(
                "installer-answers",
                path,
                "what an installer was told, passwords included",
            );
        }
        _ if hidden && name.ends_with(b"_history") && !is_home(path) => {
            look.report("shell-history", path, "what somebody typed");
        }
        b"fish_history"
        | b"search_history"
        | b"mongosh_repl_history"
        | b"ConsoleHost_history.txt"
        | b".zhistory"
        | b".history"
        | b".histfile"
        | b".irb-history"
        | b".dbshell"
        | b".python-history" => {
            look.report("shell-history", path, "what somebody typed");
        }
        b"passwords.dat" if inside(b"/var/cache/debconf/") => debconf(look, path, file)?,
        b".lesshst" | b".viminfo" if !is_home(path) => {
            look.report("shell-history", path, "what somebody typed");
        }
        _ if (inside(b"/var/spool/cron/") || inside(b"/var/spool/at/")) && name != b".SEQ" => {
            look.report(
                "user-crontab",
                path,
                "runs at its time, and no package has it",
            );
        }
        b"mbox" | b"dead.letter" if inside(b"/root/") || inside(b"/home/") => {
            look.report("mail", path, format!("{} bytes", file.content.size()));
        }
        _ if is_mail(path) => {
            look.report("mail", path, format!("{} bytes", file.content.size()));
        }
        _ if inside(b"/var/crash/") && !matches!(name, b"kexec_cmd" | b"kdump_lock")
            || inside(b"/var/lib/systemd/coredump/")
            || inside(b"/var/lib/apport/coredump/")
            || name.starts_with(b"vmcore")
            || name.ends_with(b".hprof") =>
        {
            look.report("crash-dump", path, "holds the memory of a program");
        }
        _ => {}
    }
    Ok(())
}

/// What debconf was told in secret; in most images all of it is empty.
fn debconf(look: &mut Look<'_>, path: &[u8], file: &File) -> Result<(), ScanError> {
    let text = look.root.content(path, file, super::LARGEST)?;
    let text = String::from_utf8_lossy(&text);
    let mut values = text.lines().filter_map(|line| line.strip_prefix("Value:"));
    if values.any(|value| !value.trim().is_empty()) {
        look.report("installer-answers", path, "passwords that debconf was told");
    }
    Ok(())
}

/// Letters that have come, or wait to be sent.
fn is_mail(path: &[u8]) -> bool {
    let places: [&[u8]; 9] = [
        b"/var/mail/",
        b"/var/spool/mail/",
        b"/var/spool/mqueue/",
        b"/var/spool/exim4/input/",
        b"/var/spool/postfix/active/",
        b"/var/spool/postfix/deferred/",
        b"/var/spool/postfix/incoming/",
        b"/var/spool/postfix/maildrop/",
        b"/var/spool/postfix/hold/",
    ];
    let folder = path.windows(9).any(|part| part == b"/Maildir/");
    folder || places.iter().any(|place| path.starts_with(place))
}

/// Where the clean-up has its own rule for histories.
fn is_home(path: &[u8]) -> bool {
    let depth = path.split(|&byte| byte == b'/').count() - 1;
    (path.starts_with(b"/root/") && depth == 2) || (path.starts_with(b"/home/") && depth == 3)
}

fn by_start(look: &mut Look<'_>, path: &[u8], name: &[u8], file: &File) -> Result<(), ScanError> {
    let core = name == b"core"
        || name.starts_with(b"core.")
        || name.starts_with(b"core-")
        || name.ends_with(b".core");
    if !core && file.content.size() > LARGEST_KEY {
        return Ok(());
    }
    let mut start = [0; 64];
    let count = file.content.read_at(look.root.files(), 0, &mut start)?;
    let start = &start[..count];
    if core && start.starts_with(b"\x7fELF") && start.get(16) == Some(&CORE) {
        look.report("crash-dump", path, "holds the memory of a program");
    }
    let line = start
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let private = line.starts_with(PEM) && line.windows(PRIVATE.len()).any(|part| part == PRIVATE);
    // Host keys and the snake oil are the clean-up's.
    let cleaned = path.starts_with(b"/etc/ssh/ssh_host_") || name == b"ssl-cert-snakeoil.key";
    if (private || line.starts_with(PUTTY)) && !cleaned {
        let locked = line.windows(9).any(|part| part == b"ENCRYPTED");
        let severity = if locked {
            Severity::Medium
        } else {
            Severity::High
        };
        let kind = String::from_utf8_lossy(line)
            .replace('-', "")
            .replace("BEGIN ", "");
        look.report_as("private-key", severity, path, kind.trim().to_owned());
    }
    Ok(())
}

/// Configuration that fits only the card of the build's machine.
fn network(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = Vec::new();
    for directory in [
        "/etc/netplan",
        "/etc/systemd/network",
        "/etc/sysconfig/network-scripts",
        "/etc/network/interfaces.d",
        "/etc/NetworkManager/system-connections",
    ] {
        files.extend(look.texts(directory)?);
    }
    files.extend(
        look.text("/etc/network/interfaces")?
            .map(|text| ("/etc/network/interfaces".to_owned(), text)),
    );
    for (path, text) in files {
        let bound = |line: &str| {
            let line = line.to_ascii_lowercase();
            let keys = [
                "macaddress:",
                "macaddress=",
                "permanentmacaddress=",
                "hwaddr=",
                "hwaddress ",
                "mac-address=",
            ];
            keys.iter().any(|key| line.starts_with(key))
        };
        if let Some((number, _)) = lines(&text).find(|(_, line)| bound(line)) {
            look.report(
                "bound-to-network-card",
                path.as_bytes(),
                format!("line {number}: the address of a card"),
            );
        }
    }
    Ok(())
}

/// A file of which one line is enough.
fn one(
    look: &mut Look<'_>,
    check: &'static str,
    path: &str,
    bad: impl Fn(&str) -> bool,
    evidence: &str,
) -> Result<(), ScanError> {
    let text = look.text(path)?.unwrap_or_default();
    if let Some((number, _)) = lines(&text).find(|(_, line)| bad(line)) {
        look.report(check, path.as_bytes(), format!("line {number}: {evidence}"));
    }
    Ok(())
}
