//! sudoers(5): who becomes root without a password.

use super::text::lines;
use super::{Look, ScanError};

const SUDOERS: &str = "/etc/sudoers";
const INCLUDED: &str = "/etc/sudoers.d";
/// The first uid of people in Debian and Red Hat; those above the last are `nobody` and its like.
const PEOPLE: std::ops::Range<u32> = 1000..60000;

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files: Vec<_> = look
        .text(SUDOERS)?
        .map(|text| (SUDOERS.to_owned(), text))
        .into_iter()
        .collect();
    for (path, text) in look.texts(INCLUDED)? {
        // sudo itself leaves these out.
        let name = path.rsplit('/').next().unwrap_or_default();
        if !name.contains('.') && !name.ends_with('~') {
            files.push((path, text));
        }
    }
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
        if PEOPLE.contains(&user.uid) && free.contains(&user.name) {
            let evidence = format!(
                "{} (uid {}) becomes root without a password",
                user.name, user.uid
            );
            look.report("build-user", b"/etc/passwd", evidence);
        }
    }
    Ok(())
}

/// Lines with what follows a backslash at their end.
fn joined(text: &str) -> Vec<(usize, String)> {
    let text = text.replace("\\\n", " ");
    lines(&text)
        .map(|(number, line)| (number, line.to_owned()))
        .collect()
}
