//! Checks the `creates` of steps.

use super::check::Checker;
use crate::record::manifest::Creates;
use crate::template::problem::{Problem, Span};
use crate::template::scalar::Flag;
use crate::template::schema::{self, CreatesEntry, Str};
use crate::template::spanned::Spanned;

const NAME_DIRECTORIES: &str = "name the directories that the step creates, as in \"/opt/app/**\"";

impl Checker<'_> {
    /// Checks the globs of created paths, as in `/opt/app/**`, and accounts.
    pub(super) fn creates(&mut self, written: &[Spanned<CreatesEntry>]) -> Vec<Creates> {
        let entry = |entry: &Spanned<CreatesEntry>| match entry.get_ref() {
            CreatesEntry::Path(path) => {
                let path = Str::new(entry.span(), path.clone());
                match path.get_ref().split_once(':') {
                    Some((kind @ ("user" | "group"), name)) => {
                        self.created_account(&path, kind, name);
                    }
                    _ => self.image_glob(&path, NAME_DIRECTORIES),
                }
                Creates::from(path.get_ref().as_str())
            }
            CreatesEntry::Table(table) => self.created_files(&entry.span(), table),
        };
        written.iter().map(entry).collect()
    }

    fn created_account(&mut self, written: &Str, kind: &str, name: &str) {
        if !is_account(kind, name) {
            let what = format!("invalid {kind} name {name:?}");
            let help =
                "declare accounts as `user:app` and `group:app`, group members as `group:adm/app`";
            self.report(Problem::at(written.span(), what).help(help));
        }
    }

    fn created_files(&mut self, table: &Span, files: &schema::Creates) -> Creates {
        let help = "add `path = \"/opt/app/**\"`";
        let path = self.required(table, "path", files.path.as_ref(), help);
        if let Some(written) = files.path.as_ref().filter(|_| !path.trim().is_empty()) {
            if path.starts_with("user:") || path.starts_with("group:") {
                let help = "write the account without a table, as in \"user:app\"";
                let what = format!("{path:?} is an account, not a path");
                self.report(Problem::at(written.span(), what).help(help));
            } else {
                self.image_glob(written, NAME_DIRECTORIES);
            }
        }
        let is_set = |flag: Option<Flag>| flag.is_some_and(|flag| flag.0);
        Creates {
            path,
            setuid: is_set(files.setuid),
            capabilities: is_set(files.capabilities),
            device: is_set(files.device),
        }
    }
}

/// Checks the name of an account by useradd(8); a group may have a member after `/`.
fn is_account(kind: &str, name: &str) -> bool {
    let is_name = |name: &str| {
        let known = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(known)
    };
    match name.split_once('/') {
        Some((group, member)) => kind == "group" && is_name(group) && is_name(member),
        None => is_name(name),
    }
}
