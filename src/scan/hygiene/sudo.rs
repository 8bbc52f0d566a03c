//! sudoers(5): who becomes root without a password.

use super::text::lines;
use super::{Look, ScanError};

const SUDOERS: &str = "/etc/sudoers";
/// As sudo itself.
const DEEPEST: usize = 128;
/// The first uid of people in Debian and Red Hat; those above the last are `nobody` and its like.
const PEOPLE: std::ops::Range<u32> = 1000..60000;

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = Vec::new();
    read(look, SUDOERS, 0, &mut files)?;
    doas(look)?;
    let mut free = Vec::new();
    for (path, text) in &files {
        for (number, line) in joined(text) {
            let (number, line) = (number, line.as_str());
            if line.starts_with("Defaults") {
                let words = line.split([' ', '\t', ',']);
                if words.into_iter().any(|word| word == "!authenticate") {
                    look.report(
                        "sudo-nopasswd",
                        path.as_bytes(),
                        format!("line {number}: !authenticate"),
                    );
                }
            } else if line.contains("NOPASSWD") {
                let who = line.split_whitespace().next().unwrap_or_default();
                look.report(
                    "sudo-nopasswd",
                    path.as_bytes(),
                    format!("line {number}: {who} becomes root without a password"),
                );
                if !line.contains("_Alias") {
                    free.push(who.to_owned());
                }
            }
        }
        let file = look
            .root
            .resolve(path.as_bytes())
            .and_then(|path| look.root.get(&path));
        if let Some(file) = file.filter(|file| file.mode & 0o022 != 0 || file.uid != 0) {
            let evidence = format!("mode {:04o}, uid {}", file.mode, file.uid);
            look.report("sudoers-writable", path.as_bytes(), evidence);
        }
    }
    for user in &look.accounts.users {
        let named = free.contains(&user.name) || free.contains(&format!("#{}", user.uid));
        if PEOPLE.contains(&user.uid) && named {
            let evidence = format!(
                "{} (uid {}) becomes root without a password",
                user.name, user.uid
            );
            look.report("build-user", b"/etc/passwd", evidence);
        }
    }
    Ok(())
}

/// A file and those that it includes.
fn read(
    look: &Look<'_>,
    path: &str,
    depth: usize,
    files: &mut Vec<(String, String)>,
) -> Result<(), ScanError> {
    let known = files.iter().any(|(known, _)| known == path);
    let Some(text) = look.text(path)?.filter(|_| !known && depth < DEEPEST) else {
        return Ok(());
    };
    files.push((path.to_owned(), text.clone()));
    for line in text.lines().map(str::trim) {
        let line = line.strip_prefix(['@', '#']).unwrap_or_default();
        let Some((word, what)) = line.split_once([' ', '\t']) else {
            continue;
        };
        let what = what.trim().trim_matches('"');
        let what = if what.starts_with('/') {
            what.to_owned()
        } else {
            format!("/etc/{what}")
        };
        match word {
            "include" => read(look, &what, depth + 1, files)?,
            "includedir" => {
                for (path, _) in look.texts(&what)? {
                    // sudo itself leaves these out.
                    let name = path.rsplit('/').next().unwrap_or_default();
                    if !name.contains('.') && !name.ends_with('~') {
                        read(look, &path, depth + 1, files)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// doas.conf(5): the same, in another language.
fn doas(look: &mut Look<'_>) -> Result<(), ScanError> {
    for path in ["/etc/doas.conf", "/etc/opendoas.conf"] {
        for (number, line) in lines(&look.text(path)?.unwrap_or_default()) {
            let mut words = line.split_whitespace();
            if words.next() == Some("permit") && words.any(|word| word == "nopass") {
                let evidence = format!("line {number}: doas asks for no password");
                look.report("sudo-nopasswd", path.as_bytes(), evidence);
            }
        }
    }
    Ok(())
}

/// Lines with what follows a backslash at their end; a `#` with a number is a user, and no comment.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let (line, more) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        match all.last_mut().filter(|_| goes_on) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(line.trim());
            }
            None => all.push((number + 1, line.trim().to_owned())),
        }
        goes_on = more;
    }
    let user = |line: &str| line[1..].starts_with(|c: char| c.is_ascii_digit());
    all.retain(|(_, line)| !line.is_empty() && (!line.starts_with('#') || user(line)));
    all
}
