//! One pass over any bytes: finds anchors first, and tries patterns only around them.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::ops::Range;

use super::rule::{Rules, is_document, is_library};
use super::rules::RULES;
use super::validators::{Candidate, Certainty};
use crate::digest::Digest;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Number of bytes after an anchor that a rule can see: enough for private keys of 16,384 bits.
pub(super) const LOOKAHEAD_BYTES: usize = 16 << 10;
/// Number of bytes before an anchor that a rule can see.
pub(super) const LOOKBEHIND_BYTES: usize = 1 << 10;
/// Maximum size of a file for rules without anchors: such a file consists of a secret and little else.
const MAX_WHOLE_FILE_BYTES: usize = 4 << 10;
/// Maximum number of secrets in one file; the search stops there.
pub(super) const MAX_SECRETS: usize = 10_000;

/// A secret with its place in a file.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// Index of the rule in [`RULES`].
    pub(super) rule: usize,
    /// Path within the archive that contains it.
    pub(super) inside: Option<String>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Line number, if the text around it is text.
    pub(super) line: Option<u64>,
    /// The public prefix that all secrets of its kind share.
    pub(super) prefix: &'static str,
    /// First digits of its digest, to tell secrets apart.
    pub(super) digest: String,
    pub(super) certain: bool,
}

/// The part of a file to search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Offset at which the input begins, up to [`LOOKBEHIND_BYTES`] before `start`.
    pub(super) from: u64,
    pub(super) start: u64,
    /// Anchors from here on are ignored; the input continues for [`LOOKAHEAD_BYTES`].
    pub(super) end: u64,
}

impl Window {
    pub(super) const ALL: Self = Self {
        from: 0,
        start: 0,
        end: u64::MAX,
    };
}

/// Searches `input` for secrets; also returns whether the search is complete. A read error counts as the end of the input:
/// the caller knows whether it matters.
pub(super) fn search(path: &[u8], input: &mut dyn Read, window: Window) -> (Vec<Located>, bool) {
    let library = is_library(path);
    let mut search = Search {
        path,
        document: is_document(path),
        fits: RULES
            .iter()
            .map(|rule| rule.files.include(path) && !(rule.chosen && library))
            .collect(),
        program: false,
        seen: HashSet::new(),
        found: Vec::new(),
        base: window.from,
        lines: (window.from == 0).then_some(0),
    };
    let capacity = LOOKBEHIND_BYTES + CHUNK_BYTES + LOOKAHEAD_BYTES;
    let mut buffer = Vec::with_capacity(capacity);
    let mut todo = window.start;
    loop {
        let room = capacity.saturating_sub(buffer.len()) as u64;
        let ended =
            !matches!(input.take(room).read_to_end(&mut buffer), Ok(read) if read as u64 == room);
        if search.base == 0 && is_program(&buffer) {
            search.program = true;
        }
        let have = search.base + buffer.len() as u64;
        if ended && have <= MAX_WHOLE_FILE_BYTES as u64 {
            search.try_whole(&buffer);
        }
        let until = if ended {
            have
        } else {
            have - LOOKAHEAD_BYTES as u64
        }
        .min(window.end);
        search.try_anchors(&buffer, todo, until);
        todo = until;
        let complete = search.found.len() < MAX_SECRETS;
        if ended || until == window.end || !complete {
            return (without_overlaps(search.found), complete);
        }
        let keep_from = usize::try_from(until - search.base)
            .unwrap_or(usize::MAX)
            .saturating_sub(LOOKBEHIND_BYTES);
        search.forget(&buffer[..keep_from]);
        buffer.drain(..keep_from);
    }
}

struct Search<'a> {
    path: &'a [u8],
    document: bool,
    fits: Vec<bool>,
    /// The input is machine code, which holds keys for self tests and names of variables.
    program: bool,
    seen: HashSet<(usize, u64)>,
    found: Vec<Located>,
    /// Offset of the buffer in the file.
    base: u64,
    /// Number of lines before the buffer, if known.
    lines: Option<u64>,
}

impl Search<'_> {
    /// Tries the rules without anchors.
    fn try_whole(&mut self, buffer: &[u8]) {
        for (rule, _) in RULES
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.anchors.is_empty())
        {
            if self.fits[rule] {
                self.try_rule(buffer, rule, 0);
            }
        }
    }

    /// Tries the rules of all anchors between two offsets.
    fn try_anchors(&mut self, buffer: &[u8], from: u64, until: u64) {
        let index = |offset: u64| {
            usize::try_from(offset.saturating_sub(self.base))
                .map_or(buffer.len(), |at| at.min(buffer.len()))
        };
        let (from, until) = (index(from), index(until));
        let rules = Rules::get();
        // End of the last match of each rule: an anchor before that is part of the match.
        let mut done = vec![0; RULES.len()];
        let longest = (until + 32).min(buffer.len());
        let hits = rules.anchors.find_overlapping_iter(&buffer[from..longest]);
        for hit in hits {
            let (anchor, at) = (hit.pattern().as_usize(), hit.start() + from);
            if at >= until || !rules.is_promising(anchor, &buffer[at..]) {
                continue;
            }
            for &rule in &rules.of_anchor[anchor] {
                let fits = self.fits[rule] && !(self.program && RULES[rule].is_for_text());
                if fits && at >= done[rule] {
                    done[rule] = self.try_rule(buffer, rule, at).unwrap_or(done[rule]);
                }
            }
            if self.found.len() >= MAX_SECRETS {
                return;
            }
        }
    }

    /// Tries a rule's pattern around an anchor; returns the end of its match.
    fn try_rule(&mut self, buffer: &[u8], index: usize, at: usize) -> Option<usize> {
        let rule = &RULES[index];
        let whole = rule.anchors.is_empty();
        let within = if whole {
            MAX_WHOLE_FILE_BYTES
        } else {
            rule.within
        };
        let end = (at + within).min(buffer.len());
        let mut start = at.saturating_sub(rule.before);
        let captures = loop {
            let captures = Rules::get()
                .pattern(index)
                .captures_at(&buffer[..end], start)?;
            let matched = captures.get_match();
            if whole {
                break captures;
            }
            if matched.start() > at {
                return None;
            }
            if matched.end() > at {
                break captures;
            }
            start = matched.end().max(start + 1);
        };
        let whole = captures.get_match();
        let secret = captures.iter().skip(1).flatten().next().unwrap_or(whole);
        let rest_end = (secret.start() + LOOKAHEAD_BYTES).min(buffer.len());
        let certainty = (rule.validate)(&Candidate {
            secret: secret.as_bytes(),
            rest: &buffer[secret.start()..rest_end],
            before: &buffer[secret.start().saturating_sub(64)..secret.start()],
            path: self.path,
        });
        let certain = certainty == Some(Certainty::Certain);
        if certainty.is_some() && (certain || !self.document) {
            self.add(buffer, index, secret.range(), certain);
        }
        Some(whole.end())
    }

    fn add(&mut self, buffer: &[u8], rule: usize, secret: Range<usize>, certain: bool) {
        let start = self.base + secret.start as u64;
        if !self.seen.insert((rule, start)) {
            return;
        }
        let around =
            &buffer[secret.start.saturating_sub(64)..(secret.start + 64).min(buffer.len())];
        let text = !around.contains(&0);
        let before = &buffer[..secret.start];
        let line = self
            .lines
            .filter(|_| text)
            .map(|lines| lines + newlines(before) + 1);
        let secret = whole_key(buffer, secret);
        let bytes = &buffer[secret.clone()];
        let digest = Digest::of(bytes).hex();
        let prefix = RULES[rule]
            .anchors
            .iter()
            .find(|anchor| bytes.starts_with(anchor.as_bytes()));
        self.found.push(Located {
            rule,
            inside: None,
            start,
            end: self.base + secret.end as u64,
            line,
            prefix: prefix.map_or("", String::as_str),
            digest: digest[..8].to_owned(),
            certain,
        });
    }

    /// Accounts for bytes that leave the start of the buffer.
    fn forget(&mut self, gone: &[u8]) {
        self.base += gone.len() as u64;
        self.lines = self.lines.map(|lines| lines + newlines(gone));
    }
}

/// Returns whether a file is machine code: ELF, an archive of objects, WebAssembly, Java or Windows.
fn is_program(head: &[u8]) -> bool {
    let starts = [
        &b"\x7fELF"[..],
        b"!<arch>\n",
        b"\0asm",
        b"\xca\xfe\xba\xbe",
        b"MZ\x90\0",
    ];
    // A core dump is ELF, too, and holds all that the program knew.
    let core = head.starts_with(b"\x7fELF") && head.get(16) == Some(&4);
    !core && starts.iter().any(|start| head.starts_with(start))
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// Extends the first line of a PEM key, which the pattern matches, to the whole key.
fn whole_key(buffer: &[u8], secret: Range<usize>) -> Range<usize> {
    if !buffer[secret.clone()].starts_with(b"-----BEGIN") {
        return secret;
    }
    let most = (secret.start + LOOKAHEAD_BYTES).min(buffer.len());
    let end = memchr::memmem::find(&buffer[secret.end..most], b"-----END");
    secret.start..end.map_or(secret.end, |end| secret.end + end)
}

/// Keeps one of the rules that match the same secret: the first in the table.
fn without_overlaps(mut found: Vec<Located>) -> Vec<Located> {
    found.sort_by_key(|found| (found.rule, found.start));
    let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
    found.retain(|found| {
        let before = taken.range(..found.end).next_back();
        if before.is_some_and(|(_, end)| *end > found.start) {
            return false;
        }
        taken.insert(found.start, found.end);
        true
    });
    found
}
