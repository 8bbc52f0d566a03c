//! What a rule is, and all of them made ready to be looked for at once.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::{Regex, RegexBuilder};

use super::rules::RULES;
use super::validators::Judge;
use crate::scan::Severity;

/// One kind of secret.
pub(super) struct Rule {
    /// What findings call it.
    pub(super) name: &'static str,
    /// What it is, in words.
    pub(super) what: &'static str,
    pub(super) severity: Severity,
    /// One of these is in every match, in any case of letters: only around them the pattern is tried. Where there are
    /// none, it is tried on the whole of small files.
    pub(super) anchors: &'static [&'static str],
    /// How far before the anchor a match may begin.
    pub(super) before: usize,
    /// How far behind the start of the anchor a match may end.
    pub(super) within: usize,
    /// Multi-line; the first group that matches is the secret.
    pub(super) pattern: &'static str,
    /// What looks at a match more closely.
    pub(super) judge: Judge,
    /// The files that it is for.
    pub(super) files: Files,
    /// Whether it was chosen by a person: its digest would let others guess it.
    pub(super) chosen: bool,
}

/// The files that a rule is for, by path.
#[derive(Clone, Copy)]
pub(super) enum Files {
    /// All.
    Any,
    /// Whose path contains one of these in lower case.
    Named(&'static [&'static str]),
    /// What people and tools configure: no program text, where words such as `password` are names of variables.
    Settings,
    /// Also program text, where an image has what nobody packaged.
    Own,
}

impl Rule {
    /// Whether what it finds in machine code is no secret: names of variables, keys of self tests.
    pub(super) fn is_for_text(&self) -> bool {
        self.chosen || matches!(self.name, "private-key" | "gnupg-key")
    }
}

/// Endings of program text and of texts about programs.
const CODE: [&str; 33] = [
    ".py", ".pyc", ".pl", ".pm", ".rb", ".js", ".mjs", ".cjs", ".ts", ".c", ".h", ".cc", ".cpp",
    ".go", ".rs", ".java", ".php", ".lua", ".tcl", ".el", ".vim", ".m4", ".awk", ".html", ".css",
    ".map", ".po", ".mo", ".md", ".rst", ".so", ".a", ".svg",
];

/// What stands between the path of an archive and that of a file in it.
pub(super) const WITHIN: &[u8] = b"!/";

/// The path within the innermost archive, where there is one, with the slash in front.
pub(super) fn innermost(path: &[u8]) -> &[u8] {
    memchr::memmem::rfind(path, WITHIN).map_or(path, |at| &path[at + 1..])
}

/// Where applications are.
const OWN: [&str; 8] = [
    "/opt/",
    "/srv/",
    "/home/",
    "/root/",
    "/var/www/",
    "/app/",
    "/usr/local/",
    "/etc/",
];
/// Libraries among them: what they hold is public, and full of tests.
const LIBRARIES: [&str; 7] = [
    "/site-packages/",
    "/dist-packages/",
    "/node_modules/",
    "/vendor/",
    "/.cargo/",
    "/.rustup/",
    "/go/pkg/",
];

/// Where systems keep the libraries of languages, and the tests of both.
const SHARED: [&str; 16] = [
    "/usr/lib/python3",
    "/usr/lib/ruby/",
    "/usr/lib/go-",
    "/usr/lib/erlang/",
    "/usr/lib/x86_64-linux-gnu/perl",
    "/usr/share/go",
    "/usr/share/rubygems",
    "/usr/share/ruby",
    "/usr/share/perl5/",
    "/usr/share/php/",
    "/usr/share/nodejs/",
    "/usr/share/nmap/",
    "/usr/share/augeas/",
    "/usr/share/lintian/",
    // Scripts of packages, and the manual that MariaDB and MySQL keep in a table.
    "/var/lib/dpkg/info/",
    "/var/lib/mysql/mysql/help_",
];

/// Whether a file is part of a library: what looks like somebody's password there is an example.
pub(super) fn is_library(path: &[u8]) -> bool {
    let path = innermost(path);
    let has = |part: &&str| memchr::memmem::find(path, part.as_bytes()).is_some();
    LIBRARIES.iter().any(has)
        || SHARED
            .iter()
            .any(|start| path.starts_with(start.as_bytes()))
}

/// Where texts are that show how things are written: what they hold counts only when there is no doubt.
const DOCUMENTS: [&str; 8] = [
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/info/",
    "/usr/share/help/",
    "/usr/share/locale/",
    "/usr/share/perl/",
    "/usr/share/zsh/",
    "/usr/share/vim/",
];

impl Files {
    /// Whether a file is one of them.
    pub(super) fn has(self, path: &[u8]) -> bool {
        let path = path.to_ascii_lowercase();
        let is_code = || CODE.iter().any(|end| path.ends_with(end.as_bytes()));
        match self {
            Self::Any => true,
            Self::Named(parts) => {
                let has = |part: &&str| memchr::memmem::find(&path, part.as_bytes()).is_some();
                parts.iter().any(has) && !is_code()
            }
            Self::Settings => !is_code(),
            Self::Own => {
                let inner = innermost(&path);
                let below = |above: &&str| {
                    path.starts_with(above.as_bytes()) || inner.starts_with(above.as_bytes())
                };
                let of_others =
                    |part: &&str| memchr::memmem::find(&path, part.as_bytes()).is_some();
                OWN.iter().any(below) && !LIBRARIES.iter().any(of_others)
            }
        }
    }
}

/// Whether a file shows how things are written.
pub(super) fn is_document(path: &[u8]) -> bool {
    let below = |above: &&str| path.starts_with(above.as_bytes());
    let shows = [
        ".example", ".sample", ".dist", ".tmpl", "-example", "-sample",
    ];
    shows.iter().any(|end| path.ends_with(end.as_bytes()))
        || DOCUMENTS.iter().any(below)
        || memchr::memmem::find(path, b"/man/man").is_some()
}

/// Anchors that are so short that they are everywhere: only where a key follows they are worth a pattern.
const SHORT: [&str; 10] = [
    "s.", "sk-", "sk", "sg.", ":aa", "q~", "cio", "eyj", "r8_", "hf_",
];
/// Characters of that key.
const KEY: usize = 12;

/// All rules, made ready.
pub(super) struct Rules {
    /// Finds every anchor of every rule in one pass.
    pub(super) anchors: AhoCorasick,
    /// The rules that each anchor belongs to.
    pub(super) of_anchor: Vec<Vec<usize>>,
    /// Its length, where an anchor is [short](SHORT).
    short: Vec<Option<usize>>,
    patterns: Vec<LazyLock<Regex, Box<dyn FnOnce() -> Regex + Send>>>,
}

impl Rules {
    /// Makes the table ready, once.
    pub(super) fn get() -> &'static Self {
        static READY: LazyLock<Rules> = LazyLock::new(Rules::new);
        &READY
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
        let short = texts
            .iter()
            .map(|text| SHORT.contains(&text.as_str()).then_some(text.len()));
        let short = short.collect();
        let anchors = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&texts)
            .expect("the table is small");
        let patterns = RULES.iter().map(|rule| {
            let build: Box<dyn FnOnce() -> Regex + Send> = Box::new(|| pattern(rule.pattern));
            LazyLock::new(build)
        });
        Self {
            anchors,
            of_anchor,
            short,
            patterns: patterns.collect(),
        }
    }

    /// Whether an anchor is worth a pattern, seen what begins with it.
    pub(super) fn is_worth(&self, anchor: usize, text: &[u8]) -> bool {
        let key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(byte);
        self.short[anchor].is_none_or(|length| {
            let after = text.get(length..length + KEY);
            after.is_some_and(|after| after.iter().all(key))
        })
    }

    /// The pattern of a rule; made when it is first needed.
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
