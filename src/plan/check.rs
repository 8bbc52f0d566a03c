//! Checks shared by the parts of a plan. Problems are collected, so that they are reported together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::size::{DurationUse, InvalidQuantity, SizeUse, parse_duration, parse_size};
use crate::template::files::{Need, NeedKind};
use crate::template::problem::{Problem, Span, did_you_mean};
use crate::template::scalar::{Number, Scalar};
use crate::template::schema::Str;
use crate::template::spanned::Spanned;
use crate::template::tree::Removed;

/// Resolves a path relative to the template's directory, or with `~/` to the home directory.
pub(crate) fn host_path(dir: &Path, home: Option<&Path>, text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => dir.join(text),
    }
}

/// Returns true for text of a-z, 0-9 and -, as in the names of images and repositories.
pub(crate) fn is_plain_name(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain)
}

/// Returns strings of a template without their places.
pub(super) fn texts(words: &[Str]) -> Vec<String> {
    words.iter().map(|word| word.get_ref().clone()).collect()
}

/// Converts template values to plan values and collects problems.
pub(crate) struct Checker<'a> {
    /// Absolute directory of the template.
    pub dir: &'a Path,
    pub home: Option<&'a Path>,
    pub removed: &'a Removed,
    pub problems: Vec<Problem>,
    pub needs: Vec<Need>,
    /// Replacements for paths of host files, by the path in the template.
    pub moved: &'a BTreeMap<String, PathBuf>,
    /// Host files and directories that go into the image: absolute path -> path in the template.
    pub sources: BTreeMap<PathBuf, String>,
}

/// Advice for a missing `reason`.
pub(super) const ADD_REASON: &str = "add `reason = \"...\"` for readers of the template";

impl<'a> Checker<'a> {
    pub fn new(
        dir: &'a Path,
        home: Option<&'a Path>,
        removed: &'a Removed,
        moved: &'a BTreeMap<String, PathBuf>,
    ) -> Self {
        Self {
            dir,
            home,
            removed,
            problems: Vec::new(),
            needs: Vec::new(),
            moved,
            sources: BTreeMap::new(),
        }
    }

    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports a missing key, unless it was removed as invalid.
    pub fn missing(&mut self, table: &Span, key: &str, help: &str) {
        if !self.removed.has(table, key) {
            self.report(Problem::at(table.clone(), format!("`{key}` is missing")).help(help));
        }
    }

    /// Checks that a key is present and not empty.
    pub fn required(&mut self, table: &Span, key: &str, value: Option<&Str>, help: &str) -> String {
        match value {
            None => {
                self.missing(table, key, help);
                String::new()
            }
            Some(text) => self.filled(key, text, help),
        }
    }

    /// Checks that text is not empty.
    pub fn filled(&mut self, key: &str, text: &Str, help: &str) -> String {
        if text.get_ref().trim().is_empty() {
            self.report(Problem::at(text.span(), format!("`{key}` is empty")).help(help));
        } else if text.get_ref().contains('\0') {
            self.report(Problem::at(
                text.span(),
                format!("`{key}` contains a NUL character"),
            ));
        }
        text.get_ref().clone()
    }

    /// Parses a size. A missing value and `""` give `None`.
    pub fn size(&mut self, value: Option<&Spanned<Scalar>>, usage: SizeUse) -> Option<u64> {
        let value = value.filter(|value| !value.get_ref().text.is_empty())?;
        parse_size(&value.get_ref().text, usage)
            .map_err(|error| self.quantity(value, "a size", &error))
            .ok()
    }

    /// Parses a duration. A missing value and `""` give `None`.
    pub fn duration(
        &mut self,
        value: Option<&Spanned<Scalar>>,
        usage: DurationUse,
    ) -> Option<Duration> {
        let value = value.filter(|value| !value.get_ref().text.is_empty())?;
        parse_duration(&value.get_ref().text, usage)
            .map_err(|error| self.quantity(value, "a duration", &error))
            .ok()
    }

    /// Parses a time limit, which cannot be zero.
    pub fn timeout(&mut self, value: Option<&Spanned<Scalar>>, default: Duration) -> Duration {
        self.duration(value, DurationUse::Limit).unwrap_or(default)
    }

    fn quantity(&mut self, value: &Spanned<Scalar>, expected: &str, error: &InvalidQuantity) {
        let what = match error {
            InvalidQuantity::NoUnit { text, .. } => format!("{expected} needs a unit: {text}"),
            other => other.to_string(),
        };
        self.report(Problem::at(value.span(), what).help(error.help()));
    }

    /// Parses one of several keywords.
    pub fn choice<T: Copy>(
        &mut self,
        key: &str,
        value: Option<&Str>,
        choices: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(value) = value else { return default };
        let text = value.get_ref().as_str();
        if let Some((_, meaning)) = choices.iter().find(|(word, _)| *word == text) {
            return *meaning;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let help = did_you_mean(text, words.iter().copied())
            .unwrap_or_else(|| format!("choose from: {}", words.join(", ")));
        self.report(Problem::at(value.span(), format!("unknown `{key}` {text:?}")).help(help));
        default
    }

    /// Returns the only kind present. Two are an error that points at both.
    pub fn one_kind<'k>(
        &mut self,
        table: &Span,
        what: &str,
        kinds: &[(&'k str, Option<Span>)],
    ) -> Option<&'k str> {
        let present = kinds
            .iter()
            .filter_map(|(name, span)| Some((*name, span.clone()?)));
        let mut present: Vec<_> = present.collect();
        present.sort_by_key(|(_, span)| span.start);
        let mut present = present.into_iter();
        let Some((first, first_span)) = present.next() else {
            if !self.removed.has_unknown(table)
                && !kinds.iter().any(|(name, _)| self.removed.has(table, name))
            {
                let names: Vec<String> =
                    kinds.iter().map(|(name, _)| format!("`{name}`")).collect();
                self.report(
                    Problem::at(table.clone(), format!("{what} has no kind"))
                        .help(format!("add one of {}", names.join(", "))),
                );
            }
            return None;
        };
        if let Some((second, span)) = present.next() {
            let problem = Problem::at(
                span,
                format!("{what} is both `{first}` and `{second}`; choose one"),
            );
            self.report(problem.and(first_span, format!("`{first}` is here")));
        }
        Some(first)
    }

    pub fn digest(&mut self, value: &Str) -> Option<Digest> {
        let text = value.get_ref();
        text.parse()
            .map_err(|_| {
                let digits = text.strip_prefix("sha256:").unwrap_or(text);
                let what = if digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    format!(
                        "a SHA-256 digest has 64 hex digits, this has {}",
                        digits.len()
                    )
                } else {
                    "this is not a SHA-256 digest".to_owned()
                };
                self.report(
                    Problem::at(value.span(), what)
                        .help("write the 64 hex digits that `sha256sum` prints"),
                );
            })
            .ok()
    }

    pub fn port(&mut self, value: Option<&Spanned<Number>>) -> Option<u16> {
        let value = value?;
        let port = u16::try_from(value.get_ref().0)
            .ok()
            .filter(|port| *port != 0);
        if port.is_none() {
            self.report(
                Problem::at(
                    value.span(),
                    format!("{} is not a TCP port", value.get_ref().0),
                )
                .help("ports are 1 to 65535"),
            );
        }
        port
    }

    /// Checks a URL with one of the schemes.
    pub fn url(&mut self, value: &Str, schemes: &[&str]) -> String {
        let known = reqwest::Url::parse(value.get_ref())
            .is_ok_and(|url| schemes.contains(&url.scheme()) && !url.path().is_empty());
        if !known {
            let help = format!("URLs start with {}", schemes.join(":, ") + ":");
            self.report(
                Problem::at(value.span(), format!("{:?} is not a URL", value.get_ref())).help(help),
            );
        }
        value.get_ref().clone()
    }

    /// Resolves a path on the host, relative to the template or with `~/` to the home directory.
    pub fn path(&mut self, value: &Str) -> PathBuf {
        let text = value.get_ref();
        if text.is_empty() {
            self.report(Problem::at(value.span(), "this path is empty"));
        }
        let moved = self.moved.get(text).cloned();
        moved.unwrap_or_else(|| host_path(self.dir, self.home, text))
    }

    /// Resolves a host file or directory that goes into the image.
    pub fn image_source(&mut self, value: &Str, kind: NeedKind) -> PathBuf {
        let path = self.needed(value, kind);
        self.sources.insert(path.clone(), value.get_ref().clone());
        path
    }

    /// Resolves a path on the host and records a condition on it.
    pub fn needed(&mut self, value: &Str, kind: NeedKind) -> PathBuf {
        let path = self.path(value);
        if !value.get_ref().is_empty() {
            self.needs.push(Need {
                path: path.clone(),
                written: value.get_ref().clone(),
                span: value.span(),
                kind,
            });
        }
        path
    }

    /// Checks an absolute path in the guest.
    pub fn guest_path(&mut self, value: &Str) -> String {
        let text = value.get_ref();
        if !text.starts_with('/') || text.contains('\0') {
            self.report(
                Problem::at(value.span(), format!("{text:?} is not an absolute path"))
                    .help("start it with `/`"),
            );
        }
        text.clone()
    }

    /// Checks the name of a user to log in or run as. The default is root.
    pub fn login(&mut self, value: Option<&Str>) -> String {
        value.map_or_else(|| "root".to_owned(), |user| self.user(user, false))
    }

    /// Checks a user name; with `group` also `user:group`.
    pub fn user(&mut self, value: &Str, group: bool) -> String {
        let text = value.get_ref();
        let mut names = text.splitn(if group { 2 } else { 1 }, ':');
        let valid = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if !names.all(valid) {
            let what = if group {
                "a user or user:group"
            } else {
                "a user name"
            };
            self.report(Problem::at(value.span(), format!("{text:?} is not {what}")));
        }
        text.clone()
    }
}
