//! sudoers(5) and doas.conf(5): accounts that become root without a password.

use super::text::lines;
use super::{HygieneScan, ScanError};

const SUDOERS: &str = "/etc/sudoers";
/// The limit of sudo itself.
const MAX_INCLUDE_DEPTH: usize = 128;
/// The uids of people in Debian and Red Hat; higher ones belong to accounts such as `nobody`.
const PEOPLE: std::ops::Range<u32> = 1000..60000;

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let mut files = Vec::new();
    read(scan, SUDOERS, 0, &mut files)?;
    doas(scan)?;
    let mut free = Vec::new();
    for (path, text) in &files {
        for (number, line) in joined(text) {
            free.extend(without_password(scan, path, number, &line));
        }
        let real = scan.root.resolve(path.as_bytes());
        let file = real.and_then(|path| scan.root.get(&path));
        if let Some(file) = file.filter(|file| file.mode & 0o022 != 0 || file.uid != 0) {
            let evidence = format!("mode {:04o}, uid {}", file.mode, file.uid);
            scan.report("sudoers-writable", path.as_bytes(), evidence);
        }
    }
    for user in &scan.accounts.users {
        let (name, uid) = (&user.name, user.uid);
        if PEOPLE.contains(&uid) && (free.contains(name) || free.contains(&format!("#{uid}"))) {
            let evidence = format!("{name} (uid {uid}) becomes root without a password");
            scan.report("build-user", b"/etc/passwd", evidence);
        }
    }
    Ok(())
}

/// Reports a line that asks for no password; returns the user whom it names.
fn without_password(
    scan: &mut HygieneScan<'_>,
    path: &str,
    number: usize,
    line: &str,
) -> Option<String> {
    if line.starts_with("Defaults") {
        let mut words = line.split([' ', '\t', ',']);
        if words.any(|word| word == "!authenticate") {
            scan.report_line("sudo-nopasswd", path, number, "!authenticate");
        }
        return None;
    }
    if !line.contains("NOPASSWD") {
        return None;
    }
    let user = line.split_whitespace().next().unwrap_or_default();
    let evidence = format!("{user} becomes root without a password");
    scan.report_line("sudo-nopasswd", path, number, &evidence);
    (!line.contains("_Alias")).then(|| user.to_owned())
}

/// Reads a file and those that it includes.
fn read(
    scan: &HygieneScan<'_>,
    path: &str,
    depth: usize,
    files: &mut Vec<(String, String)>,
) -> Result<(), ScanError> {
    let known = files.iter().any(|(known, _)| known == path);
    let Some(text) = scan
        .text(path)?
        .filter(|_| !known && depth < MAX_INCLUDE_DEPTH)
    else {
        return Ok(());
    };
    files.push((path.to_owned(), text.clone()));
    for line in text.lines().map(str::trim) {
        let line = line.strip_prefix(['@', '#']).unwrap_or_default();
        let Some((word, argument)) = line.split_once([' ', '\t']) else {
            continue;
        };
        let mut argument = argument.trim().trim_matches('"').to_owned();
        if !argument.starts_with('/') {
            argument.insert_str(0, "/etc/");
        }
        let included = match word {
            "include" => vec![argument],
            "includedir" => {
                let files = scan.texts(&[&argument], &[])?.into_iter();
                files
                    .map(|(path, _)| path)
                    .filter(|path| is_read(path))
                    .collect()
            }
            _ => continue,
        };
        for path in included {
            read(scan, &path, depth + 1, files)?;
        }
    }
    Ok(())
}

/// Returns whether sudo reads a file of an included directory.
fn is_read(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    !name.contains('.') && !name.ends_with('~')
}

fn doas(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    for (path, text) in scan.texts(&[], &["/etc/doas.conf", "/etc/opendoas.conf"])? {
        for (number, line) in lines(&text) {
            let mut words = line.split_whitespace();
            if words.next() == Some("permit") && words.any(|word| word == "nopass") {
                scan.report_line("sudo-nopasswd", &path, number, "doas asks for no password");
            }
        }
    }
    Ok(())
}

/// Joins lines that end with a backslash, and removes comments; a `#` before a number is a user.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let continued = line.strip_suffix('\\');
        let text = continued.unwrap_or(line).trim();
        match all.last_mut().filter(|_| goes_on) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(text);
            }
            None => all.push((number + 1, text.to_owned())),
        }
        goes_on = continued.is_some();
    }
    let user = |line: &str| line[1..].starts_with(|c: char| c.is_ascii_digit());
    all.retain(|(_, line)| !line.is_empty() && (!line.starts_with('#') || user(line)));
    all
}
