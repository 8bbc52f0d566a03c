//! One pass over bytes, whatever they are: anchors first, patterns only around them.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::ops::Range;

use super::rule::{Rules, is_document, is_library};
use super::rules::RULES;
use super::validators::{Certainty, Match};
use crate::digest::Digest;

/// Bytes that are looked at in one go.
const PIECE: usize = 1 << 20;
/// What a rule may see behind an anchor: private keys of 16,384 bits.
pub(super) const AFTER: usize = 16 << 10;
/// What a rule may see before an anchor.
pub(super) const BEFORE: usize = 1 << 10;
/// Files that a rule without anchors looks at: they hold a secret, and nothing else.
const SMALL: usize = 4 << 10;
/// Places of secrets in one file that are told apart.
pub(super) const MOST: usize = 10_000;

/// A secret in a file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) rule: usize,
    /// The file of an archive that it is in.
    pub(super) inside: Option<String>,
    /// Where it begins.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Its line, where it is in text.
    pub(super) line: Option<u64>,
    /// The part of it that all of its kind have.
    pub(super) public: &'static str,
    /// The start of its digest, to tell it from others.
    pub(super) digest: String,
    pub(super) certain: bool,
}

/// The part of a file that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Where the input begins: up to [`BEFORE`] bytes earlier than the part.
    pub(super) from: u64,
    pub(super) start: u64,
    /// Only anchors before it count; the input goes on for [`AFTER`] bytes.
    pub(super) end: u64,
}

impl Part {
    /// All of an input.
    pub(super) const ALL: Self = Self {
        from: 0,
        start: 0,
        end: u64::MAX,
    };
}

/// Looks for secrets in what `input` has; says whether it looked at all of it. What it cannot read is as if it were its end; the caller knows whether that matters.
pub(super) fn search(path: &[u8], input: &mut dyn Read, part: Part) -> (Vec<Found>, bool) {
    let library = is_library(path);
    let mut search = Search {
        path,
        document: is_document(path),
        fits: RULES
            .iter()
            .map(|rule| rule.files.has(path) && !(rule.chosen && library))
            .collect(),
        program: false,
        seen: HashSet::new(),
        found: Vec::new(),
        base: part.from,
        lines: (part.from == 0).then_some(0),
    };
    let mut buffer = Vec::with_capacity(BEFORE + PIECE + AFTER);
    let mut todo = part.start;
    loop {
        let room = (BEFORE + PIECE + AFTER).saturating_sub(buffer.len()) as u64;
        let ended =
            !matches!(input.take(room).read_to_end(&mut buffer), Ok(read) if read as u64 == room);
        if search.base == 0 && is_program(&buffer) {
            search.program = true;
        }
        let have = search.base + buffer.len() as u64;
        if ended && have <= SMALL as u64 {
            search.look_at_all(&buffer);
        }
        let until = if ended { have } else { have - AFTER as u64 }.min(part.end);
        search.look(&buffer, todo, until);
        todo = until;
        let all = search.found.len() < MOST;
        if ended || until == part.end || !all {
            return (without_overlaps(search.found), all);
        }
        let keep_from = usize::try_from(until - search.base)
            .unwrap_or(usize::MAX)
            .saturating_sub(BEFORE);
        search.pass(&buffer[..keep_from]);
        buffer.drain(..keep_from);
    }
}

struct Search<'a> {
    path: &'a [u8],
    document: bool,
    fits: Vec<bool>,
    /// It is machine code, with test keys for self tests and with names of variables.
    program: bool,
    seen: HashSet<(usize, u64)>,
    found: Vec<Found>,
    /// Where the buffer begins.
    base: u64,
    /// Lines before it, where they are known.
    lines: Option<u64>,
}

impl Search<'_> {
    /// Tries the rules for files that are a secret.
    fn look_at_all(&mut self, buffer: &[u8]) {
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

    /// Looks at the anchors from one offset to another.
    fn look(&mut self, buffer: &[u8], from: u64, until: u64) {
        let index = |offset: u64| {
            usize::try_from(offset.saturating_sub(self.base))
                .map_or(buffer.len(), |at| at.min(buffer.len()))
        };
        let (from, until) = (index(from), index(until));
        let rules = Rules::get();
        // Where the last match of each rule ends: an anchor within it was part of it.
        let mut done = vec![0; RULES.len()];
        let longest = (until + 32).min(buffer.len());
        let hits = rules.anchors.find_overlapping_iter(&buffer[from..longest]);
        for hit in hits.map(|hit| (hit.pattern().as_usize(), hit.start() + from)) {
            let (anchor, at) = hit;
            if at >= until || !rules.is_worth(anchor, &buffer[at..]) {
                continue;
            }
            for &rule in &rules.of_anchor[anchor] {
                let fits = self.fits[rule] && !(self.program && RULES[rule].is_for_text());
                if fits && at >= done[rule] {
                    done[rule] = self.try_rule(buffer, rule, at).unwrap_or(done[rule]);
                }
            }
            if self.found.len() >= MOST {
                return;
            }
        }
    }

    /// Tries a rule's pattern around an anchor; says where its match ends.
    fn try_rule(&mut self, buffer: &[u8], index: usize, at: usize) -> Option<usize> {
        let rule = &RULES[index];
        let whole = rule.anchors.is_empty();
        let within = if whole { SMALL } else { rule.within };
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
        let rest_end = (secret.start() + AFTER).min(buffer.len());
        let certainty = (rule.judge)(&Match {
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
        let public = RULES[rule]
            .anchors
            .iter()
            .find(|anchor| bytes.starts_with(anchor.as_bytes()));
        self.found.push(Found {
            rule,
            inside: None,
            start,
            end: self.base + secret.end as u64,
            line,
            public: public.copied().unwrap_or_default(),
            digest: digest[..8].to_owned(),
            certain,
        });
    }

    /// Forgets the start of the buffer.
    fn pass(&mut self, gone: &[u8]) {
        self.base += gone.len() as u64;
        self.lines = self.lines.map(|lines| lines + newlines(gone));
    }
}

/// ELF, an archive of objects, WebAssembly, Java, Windows: all in one piece.
fn is_program(head: &[u8]) -> bool {
    let starts = [
        &b"\x7fELF"[..],
        b"!<arch>\n",
        b"\0asm",
        b"\xca\xfe\xba\xbe",
        b"MZ\x90\0",
    ];
    // The memory of a program that crashed is ELF, too, and holds all that it knew.
    let core = head.starts_with(b"\x7fELF") && head.get(16) == Some(&4);
    !core && starts.iter().any(|start| head.starts_with(start))
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// A key in PEM with its body, of which the pattern has only the first line.
fn whole_key(buffer: &[u8], secret: Range<usize>) -> Range<usize> {
    if !buffer[secret.clone()].starts_with(b"-----BEGIN") {
        return secret;
    }
    let most = (secret.start + AFTER).min(buffer.len());
    let end = memchr::memmem::find(&buffer[secret.end..most], b"-----END");
    secret.start..end.map_or(secret.end, |end| secret.end + end)
}

/// Where several rules see the same secret, the first of the table has it.
fn without_overlaps(mut found: Vec<Found>) -> Vec<Found> {
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
