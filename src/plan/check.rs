//! Checks that the parts of a plan have in common. Problems are collected, so that all are told together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::Digest;
use crate::size::{InvalidQuantity, parse_duration, parse_size};
use crate::template::problem::{Problem, Span, did_you_mean};
use crate::template::scalar::{Number, Scalar};
use crate::template::schema::Str;
use crate::template::tree::Removed;
use toml::Spanned;

/// Something about the host's files that must hold before a build starts.
#[derive(Debug)]
pub(crate) struct Need {
    pub path: PathBuf,
    /// The path as the template has it.
    pub written: String,
    pub span: Span,
    pub kind: NeedKind,
}

/// A path as a template has it: relative to the template's directory, or to the home directory with `~/`.
pub(crate) fn host_path(dir: &Path, home: Option<&Path>, text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => dir.join(text),
    }
}

/// What must hold for a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NeedKind {
    File,
    FileOrDirectory,
    PrivateKey,
    /// Nothing is there yet.
    Absent,
}

/// Turns what is written into what is meant, and remembers what was wrong.
pub(crate) struct Checker<'a> {
    /// The template's directory, absolute.
    pub dir: &'a Path,
    pub home: Option<&'a Path>,
    pub removed: &'a Removed,
    pub problems: Vec<Problem>,
    pub needs: Vec<Need>,
    /// Where files of the host are that are not where the template says, by the path that it has.
    pub moved: &'a BTreeMap<String, PathBuf>,
    /// Files and directories that go into the image, by path, with the path as the template has it.
    pub sources: BTreeMap<PathBuf, String>,
}

impl Checker<'_> {
    pub fn say(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Says that a table lacks a key, unless the key was there and something else was wrong with it.
    pub fn missing(&mut self, table: &Span, key: &str, help: &str) {
        if !self.removed.has(table, key) {
            self.say(Problem::at(table.clone(), format!("`{key}` is missing")).help(help));
        }
    }

    /// A key's value, which must be there and not be empty.
    pub fn required(&mut self, table: &Span, key: &str, value: Option<&Str>, help: &str) -> String {
        match value {
            None => {
                self.missing(table, key, help);
                String::new()
            }
            Some(text) => self.filled(key, text, help),
        }
    }

    /// Text that must not be empty.
    pub fn filled(&mut self, key: &str, text: &Str, help: &str) -> String {
        if text.get_ref().trim().is_empty() {
            self.say(Problem::at(text.span(), format!("`{key}` is empty")).help(help));
        } else if text.get_ref().contains('\0') {
            self.say(Problem::at(
                text.span(),
                format!("`{key}` contains a NUL character"),
            ));
        }
        text.get_ref().clone()
    }

    /// A size; absent and `""` are `None`.
    pub fn size(&mut self, key: &str, value: Option<&Spanned<Scalar>>) -> Option<u64> {
        let value = value.filter(|value| !value.get_ref().text.is_empty())?;
        match parse_size(&value.get_ref().text) {
            Ok(0) => self.say(Problem::at(value.span(), format!("`{key}` is zero"))),
            Ok(size) => return Some(size),
            Err(error) => self.quantity(value, "a size", &error),
        }
        None
    }

    /// A duration; absent and `""` are `None`.
    pub fn duration(&mut self, value: Option<&Spanned<Scalar>>) -> Option<Duration> {
        let value = value.filter(|value| !value.get_ref().text.is_empty())?;
        parse_duration(&value.get_ref().text)
            .map_err(|error| self.quantity(value, "a duration", &error))
            .ok()
    }

    /// A time limit, which cannot be zero.
    pub fn timeout(&mut self, value: Option<&Spanned<Scalar>>, default: Duration) -> Duration {
        let limit = self.duration(value);
        if let (Some(Duration::ZERO), Some(value)) = (limit, value) {
            self.say(
                Problem::at(value.span(), "a timeout of zero never lets anything finish")
                    .help("leave it out for the default"),
            );
        }
        limit.unwrap_or(default)
    }

    fn quantity(&mut self, value: &Spanned<Scalar>, expected: &str, error: &InvalidQuantity) {
        let what = match error {
            InvalidQuantity::NoUnit { text, .. } => format!("{expected} needs a unit: {text}"),
            other => other.to_string(),
        };
        self.say(Problem::at(value.span(), what).maybe_help(error.help()));
    }

    /// One of a few words.
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
        self.say(
            Problem::at(
                value.span(),
                format!("{text:?} is no `{key}` that karat knows"),
            )
            .help(help),
        );
        default
    }

    /// The one kind that is there. Two are an error that points at both.
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
                self.say(
                    Problem::at(table.clone(), format!("{what} has no kind"))
                        .help(format!("add one of {}", names.join(", "))),
                );
            }
            return None;
        };
        if let Some((second, span)) = present.next() {
            let problem = Problem::at(
                span,
                format!("{what} is both `{first}` and `{second}`; it can be only one"),
            );
            self.say(problem.and(first_span, format!("`{first}` is here")));
        }
        Some(first)
    }

    /// A digest.
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
                self.say(
                    Problem::at(value.span(), what)
                        .help("write the 64 hex digits that `sha256sum` prints"),
                );
            })
            .ok()
    }

    /// A TCP port.
    pub fn port(&mut self, value: Option<&Spanned<Number>>) -> Option<u16> {
        let value = value?;
        let port = u16::try_from(value.get_ref().0)
            .ok()
            .filter(|port| *port != 0);
        if port.is_none() {
            self.say(
                Problem::at(
                    value.span(),
                    format!("{} is not a TCP port", value.get_ref().0),
                )
                .help("ports are 1 to 65535"),
            );
        }
        port
    }

    /// An `http`, `https` or (where `file` says so) `file` URL.
    pub fn url(&mut self, value: &Str, schemes: &[&str]) -> String {
        let known = reqwest::Url::parse(value.get_ref())
            .is_ok_and(|url| schemes.contains(&url.scheme()) && !url.path().is_empty());
        if !known {
            let help = format!("it starts with {}", schemes.join(":, ") + ":");
            self.say(
                Problem::at(value.span(), format!("{:?} is not a URL", value.get_ref())).help(help),
            );
        }
        value.get_ref().clone()
    }

    /// A path on the host: relative to the template, or to the home directory with `~/`.
    pub fn path(&mut self, value: &Str) -> PathBuf {
        let text = value.get_ref();
        if text.is_empty() {
            self.say(Problem::at(value.span(), "this path is empty"));
        }
        let moved = self.moved.get(text).cloned();
        moved.unwrap_or_else(|| host_path(self.dir, self.home, text))
    }

    /// A file or directory of the host that goes into the image.
    pub fn put_in(&mut self, value: &Str, kind: NeedKind) -> PathBuf {
        let path = self.needed(value, kind);
        self.sources.insert(path.clone(), value.get_ref().clone());
        path
    }

    /// A path on the host about which something must hold.
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

    /// An absolute path in the guest.
    pub fn guest_path(&mut self, value: &Str) -> String {
        let text = value.get_ref();
        if !text.starts_with('/') || text.contains('\0') {
            self.say(
                Problem::at(value.span(), format!("{text:?} is not an absolute path"))
                    .help("start it with `/`"),
            );
        }
        text.clone()
    }

    /// A user's name, or with `group` also `user:group`.
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
            self.say(Problem::at(value.span(), format!("{text:?} is not {what}")));
        }
        text.clone()
    }
}
