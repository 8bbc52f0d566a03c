//! A rule for one kind of secret, and the automaton that finds the anchors of all rules in one pass.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::lists::LISTS;
use super::rules::RULES;
use super::validators::{self, Validator, contains_any};
use crate::scan::Severity;

/// One kind of secret: an entry of `rules.toml`, which describes the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) title: String,
    #[serde(default = "high")]
    pub(super) severity: Severity,
    pub(super) anchors: Vec<String>,
    #[serde(default = "before")]
    pub(super) before: usize,
    #[serde(default = "within")]
    pub(super) within: usize,
    pub(super) pattern: String,
    #[serde(
        default = "validators::default",
        deserialize_with = "validators::named"
    )]
    pub(super) validate: Validator,
    #[serde(default)]
    pub(super) files: Files,
    #[serde(default)]
    pub(super) chosen: bool,
}

fn high() -> Severity {
    Severity::High
}

/// Most names of settings, with quotes and separators, are shorter.
fn before() -> usize {
    80
}

/// Most keys are shorter.
fn within() -> usize {
    512
}

/// Selects the files that a rule applies to by their paths.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Files {
    #[default]
    Any,
    /// Files whose path in lower case contains one of these, except program text.
    Named(Vec<String>),
    /// Everything but program text, where words such as `password` are names of variables.
    Settings,
    /// Applications and configuration outside of packages, including program text, but not libraries.
    Own,
}

impl Rule {
    /// Returns whether its matches in machine code are false positives: names of variables, keys of self tests.
    pub(super) fn is_for_text(&self) -> bool {
        self.chosen || matches!(self.name.as_str(), "private-key" | "gnupg-key")
    }
}

/// Separates the path of an archive from that of a file in it.
pub(super) const ARCHIVE_SEPARATOR: &[u8] = b"!/";

/// Returns the path within the innermost archive with a leading slash, or the whole path outside of archives.
pub(super) fn innermost(path: &[u8]) -> &[u8] {
    memchr::memmem::rfind(path, ARCHIVE_SEPARATOR).map_or(path, |at| &path[at + 1..])
}

fn starts_with_any(path: &[u8], starts: &[&str]) -> bool {
    let mut starts = starts.iter();
    starts.any(|start| path.starts_with(start.as_bytes()))
}

/// Returns whether a file is part of a library: what looks like a password there is an example.
pub(super) fn is_library(path: &[u8]) -> bool {
    let path = innermost(path);
    contains_any(path, &LISTS.libraries) || starts_with_any(path, &LISTS.system_libraries)
}

impl Files {
    /// Returns whether these include a file.
    pub(super) fn include(&self, path: &[u8]) -> bool {
        let path = path.to_ascii_lowercase();
        let is_code = || LISTS.code.iter().any(|end| path.ends_with(end.as_bytes()));
        match self {
            Self::Any => true,
            Self::Named(parts) => contains_any(&path, parts) && !is_code(),
            Self::Settings => !is_code(),
            Self::Own => {
                let below = |path: &[u8]| starts_with_any(path, &LISTS.applications);
                (below(&path) || below(innermost(&path))) && !contains_any(&path, &LISTS.libraries)
            }
        }
    }
}

/// Returns whether a file is documentation or an example.
pub(super) fn is_document(path: &[u8]) -> bool {
    let shows = [
        ".example", ".sample", ".dist", ".tmpl", "-example", "-sample",
    ];
    shows.iter().any(|end| path.ends_with(end.as_bytes()))
        || starts_with_any(path, &LISTS.documents)
        || memchr::memmem::find(path, b"/man/man").is_some()
}

/// Anchors too short to be rare: their patterns are tried only where a key follows.
const SHORT_ANCHORS: [&str; 10] = [
    "s.", "sk-", "sk", "sg.", ":aa", "q~", "cio", "eyj", "r8_", "hf_",
];
/// Number of characters of that key to look at; every pattern with a short anchor asks for more.
const KEY_START_BYTES: usize = 12;

/// The automaton and the patterns of all rules.
pub(super) struct Rules {
    /// Finds the anchors of all rules.
    pub(super) anchors: AhoCorasick,
    /// Indices of the rules that each anchor belongs to.
    pub(super) of_anchor: Vec<Vec<usize>>,
    /// Lengths of the [short anchors](SHORT_ANCHORS).
    short: Vec<Option<usize>>,
    patterns: Vec<LazyLock<Regex, Box<dyn FnOnce() -> Regex + Send>>>,
}

impl Rules {
    /// Compiles the table on first use.
    pub(super) fn get() -> &'static Self {
        static RULES: LazyLock<Rules> = LazyLock::new(Rules::new);
        &RULES
    }

    fn new() -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut of_anchor: Vec<Vec<usize>> = Vec::new();
        for (rule, anchor) in RULES
            .iter()
            .enumerate()
            .flat_map(|(index, rule)| rule.anchors.iter().map(move |anchor| (index, anchor)))
        {
            let anchor = anchor.to_ascii_lowercase();
            if let Some(known) = texts.iter().position(|text| *text == anchor) {
                of_anchor[known].push(rule);
            } else {
                texts.push(anchor);
                of_anchor.push(vec![rule]);
            }
        }
        let short = |text: &String| SHORT_ANCHORS.contains(&text.as_str()).then_some(text.len());
        let anchors = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&texts)
            .expect("the table is small");
        let patterns = RULES.iter().map(|rule| {
            let build: Box<dyn FnOnce() -> Regex + Send> = Box::new(|| pattern(&rule.pattern));
            LazyLock::new(build)
        });
        Self {
            anchors,
            of_anchor,
            short: texts.iter().map(short).collect(),
            patterns: patterns.collect(),
        }
    }

    /// Returns whether the patterns of an anchor are worth trying; `text` begins with the anchor.
    pub(super) fn is_promising(&self, anchor: usize, text: &[u8]) -> bool {
        let key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(byte);
        self.short[anchor].is_none_or(|length| {
            let after = text.get(length..length + KEY_START_BYTES);
            after.is_some_and(|after| after.iter().all(key))
        })
    }

    /// Returns the pattern of a rule, which is compiled on first use.
    pub(super) fn pattern(&self, rule: usize) -> &Regex {
        &self.patterns[rule]
    }
}

fn pattern(text: &str) -> Regex {
    RegexBuilder::new(text)
        .unicode(false)
        .multi_line(true)
        .build()
        .expect("a test builds every pattern of the table")
}
