//! One walk over all paths: files that are suspicious wherever they are, by name or by their first bytes.

use super::lists::LISTS;
use super::text::lines;
use super::{HygieneScan, ScanError, Severity};
use crate::disk::read::FileType;
use crate::disk::tree::File;

/// Parts of the first line of a private key in PEM.
const PEM: &[u8] = b"-----BEGIN ";
const PRIVATE: &[u8] = b"PRIVATE KEY";
const PUTTY: &[u8] = b"PuTTY-User-Key-File-";
/// Maximum size of a key; a bundle of keys and certificates may be large.
const MAX_KEY_BYTES: u64 = 256 << 10;
/// Type of a core dump in an ELF header.
const CORE: u8 = 4;
const COREDUMPS: [&[u8]; 2] = [b"/var/lib/systemd/coredump/", b"/var/lib/apport/coredump/"];

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let root = scan.root;
    for (path, index) in root.tree().paths() {
        let file = &root.tree().files()[index];
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if file.kind == FileType::Directory && name == b".git" {
            scan.report("version-control", path, "the history of a source tree");
        }
        if file.kind != FileType::File
            || file.content.size() == 0
            || scan.owners.package_of(path).is_some()
        {
            continue;
        }
        match name {
            b"authorized_keys" | b"authorized_keys2" => authorized_keys(scan, path, file)?,
            b"passwords.dat" if path.starts_with(b"/var/cache/debconf/") => {
                debconf(scan, path, file)?;
            }
            _ => {
                if let Some((check, evidence)) = by_name(path, name) {
                    let size = || format!("{} bytes", file.content.size());
                    scan.report(check, path, evidence.map_or_else(size, str::to_owned));
                }
            }
        }
        by_start(scan, path, name, file)?;
    }
    let files = scan.texts(&LISTS.network_directories, &["/etc/network/interfaces"])?;
    let bound = |line: &str| {
        let line = line.to_ascii_lowercase();
        LISTS.mac_addresses.iter().any(|key| line.starts_with(key))
    };
    for file in files {
        let evidence = "the MAC address of a network card";
        report_first_line(scan, "bound-to-network-card", &file, bound, evidence);
    }
    for file in scan.texts(&[], &["/etc/ld.so.preload"])? {
        let evidence = "a library that is loaded into every program";
        report_first_line(scan, "ld-preload", &file, |_| true, evidence);
    }
    // The addresses of QEMU's user network.
    let qemu = |line: &str| line.starts_with("nameserver 10.0.2.");
    for file in scan.texts(&[], &["/etc/resolv.conf"])? {
        let evidence = "the resolver of the build's network";
        report_first_line(scan, "build-resolver", &file, qemu, evidence);
    }
    Ok(())
}

/// Reports the number of keys that a file allows to log in.
pub(super) fn authorized_keys(
    scan: &mut HygieneScan<'_>,
    path: &[u8],
    file: &File,
) -> Result<(), ScanError> {
    let text = scan.root.content(path, file, super::MAX_FILE_BYTES)?;
    let keys = lines(&String::from_utf8_lossy(&text)).count();
    if keys > 0 {
        let evidence = format!("keys that can log in: {keys}");
        scan.report("authorized-keys", path, evidence);
    }
    Ok(())
}

/// A check and its evidence; `None` stands for the size of the file.
type Suspicion = (&'static str, Option<&'static str>);

const KNOWN_HOSTS: Suspicion = ("known-hosts", Some("machines that the build connected to"));
const HISTORY: Suspicion = ("shell-history", Some("commands that were typed"));
const CRASH_DUMP: Suspicion = ("crash-dump", Some("contains the memory of a program"));

/// Returns the check that a file violates by its name and directory.
fn by_name(path: &[u8], name: &[u8]) -> Option<Suspicion> {
    let inside = |directory: &[u8]| path.starts_with(directory);
    let has = |part: &[u8]| memchr::memmem::find(path, part).is_some();
    let spooled = inside(b"/var/spool/cron/") || inside(b"/var/spool/at/");
    Some(match name {
        b"ssh_known_hosts" | b"ssh_known_hosts2" if inside(b"/etc/ssh/") => KNOWN_HOSTS,
        b"known_hosts" | b"known_hosts.old" if has(b"/.ssh/") => KNOWN_HOSTS,
        b".rhosts" | b".shosts" | b"hosts.equiv" | b"shosts.equiv" => (
            "rhosts-file",
            Some("trusts other machines without a password"),
        ),
        b"user-data" | b"user-data.txt" | b"user-data.txt.i" | b"vendor-data"
        | b"vendor-data.txt" => ("cloud-user-data", None),
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
            let evidence = "answers to the questions of an installer, including passwords";
            ("installer-answers", Some(evidence))
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
        | b".python-history" => HISTORY,
        b".lesshst" | b".viminfo" if !is_cleaned(path) => HISTORY,
        _ if name.starts_with(b".") && name.ends_with(b"_history") && !is_cleaned(path) => HISTORY,
        _ if spooled && name != b".SEQ" => {
            ("user-crontab", Some("a job that belongs to no package"))
        }
        b"mbox" | b"dead.letter" if inside(b"/root/") || inside(b"/home/") => ("mail", None),
        _ if has(b"/Maildir/") || LISTS.mail.iter().any(|mail| inside(mail.as_bytes())) => {
            ("mail", None)
        }
        _ if inside(b"/var/crash/") && !matches!(name, b"kexec_cmd" | b"kdump_lock")
            || COREDUMPS.iter().any(|directory| inside(directory))
            || name.starts_with(b"vmcore")
            || name.ends_with(b".hprof") =>
        {
            CRASH_DUMP
        }
        _ => return None,
    })
}

/// Reports secret answers to debconf's questions; in most images all of them are empty.
fn debconf(scan: &mut HygieneScan<'_>, path: &[u8], file: &File) -> Result<(), ScanError> {
    let text = scan.root.content(path, file, super::MAX_FILE_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let mut values = text.lines().filter_map(|line| line.strip_prefix("Value:"));
    if values.any(|value| !value.trim().is_empty()) {
        scan.report(
            "installer-answers",
            path,
            "passwords that debconf asked for",
        );
    }
    Ok(())
}

/// Returns whether a clean-up rule covers histories at this path: directly in a home.
fn is_cleaned(path: &[u8]) -> bool {
    let depth = path.split(|&byte| byte == b'/').count() - 1;
    (path.starts_with(b"/root/") && depth == 2) || (path.starts_with(b"/home/") && depth == 3)
}

/// Reports core dumps and private keys by their first bytes.
fn by_start(
    scan: &mut HygieneScan<'_>,
    path: &[u8],
    name: &[u8],
    file: &File,
) -> Result<(), ScanError> {
    let core = name == b"core"
        || name.starts_with(b"core.")
        || name.starts_with(b"core-")
        || name.ends_with(b".core");
    if !core && file.content.size() > MAX_KEY_BYTES {
        return Ok(());
    }
    let mut start = [0; 64];
    let count = file.content.read_at(scan.root.files(), 0, &mut start)?;
    let start = &start[..count];
    if core && start.starts_with(b"\x7fELF") && start.get(16) == Some(&CORE) {
        scan.report("crash-dump", path, "contains the memory of a program");
    }
    let line = start
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let has = |part: &[u8]| memchr::memmem::find(line, part).is_some();
    let private = line.starts_with(PUTTY) || (line.starts_with(PEM) && has(PRIVATE));
    // Clean-up rules cover host keys and the snake-oil key.
    let cleaned = path.starts_with(b"/etc/ssh/ssh_host_") || name == b"ssl-cert-snakeoil.key";
    if private && !cleaned {
        let severity = if has(b"ENCRYPTED") {
            Severity::Medium
        } else {
            Severity::High
        };
        let kind = String::from_utf8_lossy(line)
            .replace('-', "")
            .replace("BEGIN ", "");
        scan.report_as("private-key", severity, path, kind.trim());
    }
    Ok(())
}

/// Reports the first line of a file that satisfies a condition.
fn report_first_line(
    scan: &mut HygieneScan<'_>,
    check: &'static str,
    (path, text): &(String, String),
    condition: impl Fn(&str) -> bool,
    evidence: &str,
) {
    if let Some((number, _)) = lines(text).find(|(_, line)| condition(line)) {
        scan.report_line(check, path, number, evidence);
    }
}
