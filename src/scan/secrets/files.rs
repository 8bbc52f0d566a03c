//! Searches the files of an image for credentials, on all processors.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::rules::RULES;
use super::text::{LOOKAHEAD_BYTES, LOOKBEHIND_BYTES, Located, Window, search};
use super::unpack::{Hidden, MAX_TOTAL_UNPACKED_BYTES, MAX_UNPACKED_BYTES, Stop, Unpack};
use super::{MAX_PLACES, accept};
use crate::disk::read::{FileType, ReadError};
use crate::disk::tree::{Content, File};
use crate::distro::python::source_of_compiled;
use crate::scan::{Finding, Root, ScanError, Severity, root};

/// Bytes of a file that one job searches.
pub(super) const JOB_BYTES: u64 = 4 << 20;
/// Total size of all files. An image that claims more is not a real disk.
const MAX_TOTAL_BYTES: u64 = 2 << 40;

/// Searches all regular files except those in `skip`: indices of [`Tree::files`](crate::disk::tree::Tree::files) that are
/// byte for byte as in their packages.
///
/// # Errors
/// Fails if a file cannot be read, or claims to be larger than any disk.
pub fn search_files<S: BuildHasher>(
    root: &Root,
    skip: &HashSet<usize, S>,
) -> Result<Vec<Finding>, ScanError> {
    let jobs = jobs(root, skip)?;
    let unpacked = AtomicU64::new(0);
    let outcomes = jobs.par_iter().map(|job| {
        let outcome = job.run(root, &unpacked)?;
        Ok((!outcome.is_empty()).then_some((job.path, outcome)))
    });
    let outcomes: Result<Vec<_>, ReadError> = outcomes.filter_map(Result::transpose).collect();
    let mut by_path: BTreeMap<&[u8], Vec<Outcome>> = BTreeMap::new();
    for (path, outcome) in outcomes? {
        by_path.entry(path).or_default().push(outcome);
    }
    let findings = by_path
        .into_iter()
        .flat_map(|(path, outcomes)| report(path, outcomes));
    Ok(findings.collect())
}

/// A part of a file to search.
struct Job<'a> {
    path: &'a [u8],
    content: &'a Content,
    start: u64,
}

/// The secrets in one part of a file.
#[derive(Default)]
struct Outcome {
    plain: Vec<Located>,
    unpacked: Vec<Located>,
    /// The reasons why the search is incomplete.
    stops: BTreeSet<Stop>,
}

impl Outcome {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.unpacked.is_empty() && self.stops.is_empty()
    }
}

/// Splits the files into jobs; a file with several names is searched once.
fn jobs<'a, S: BuildHasher>(
    root: &Root<'a>,
    skip: &HashSet<usize, S>,
) -> Result<Vec<Job<'a>>, ScanError> {
    let mut seen = HashSet::new();
    let mut jobs = Vec::new();
    let mut total = 0_u64;
    for (path, index) in root.tree().paths() {
        let file = &root.tree().files()[index];
        if file.kind != FileType::File || skip.contains(&index) || !seen.insert(index) {
            continue;
        }
        let source = source_of_compiled(path).and_then(|source| root.tree().find(&source));
        if source.is_some_and(|source| skip.contains(&source)) {
            continue;
        }
        for start in starts(root, file)? {
            total = total.saturating_add(JOB_BYTES);
            if total > MAX_TOTAL_BYTES {
                return Err(ScanError::TooLarge {
                    path: root::display_path(path),
                    size: file.content.size(),
                });
            }
            let content = &file.content;
            jobs.push(Job {
                path,
                content,
                start,
            });
        }
    }
    Ok(jobs)
}

/// Returns the offsets of the parts of a file that are not holes.
pub(super) fn starts(root: &Root, file: &File) -> Result<BTreeSet<u64>, ReadError> {
    let size = file.content.size();
    let Content::Inode { inode, .. } = file.content else {
        let parts = 0..size.div_ceil(JOB_BYTES);
        return Ok(parts.map(|part| part * JOB_BYTES).collect());
    };
    if size <= JOB_BYTES {
        return Ok((0..size.min(1)).collect());
    }
    // One more than a scan accepts is enough to refuse the file.
    let most = usize::try_from(MAX_TOTAL_BYTES / JOB_BYTES + 1).unwrap_or(usize::MAX);
    let mut starts = BTreeSet::new();
    for run in root.files().runs(inode)? {
        let end = run.offset.saturating_add(run.length).min(size);
        let parts = run.offset / JOB_BYTES..end.div_ceil(JOB_BYTES);
        starts.extend(parts.take(most).map(|part| part * JOB_BYTES));
    }
    Ok(starts)
}

impl Job<'_> {
    fn run(&self, root: &Root, unpacked: &AtomicU64) -> Result<Outcome, ReadError> {
        let window = Window {
            from: self.start.saturating_sub(LOOKBEHIND_BYTES as u64),
            start: self.start,
            end: self.start + JOB_BYTES,
        };
        let end = window.end + LOOKAHEAD_BYTES as u64;
        let mut bytes = Bytes::new(root, self.content, window.from, end);
        let (plain, complete) = search(self.path, &mut bytes, window);
        bytes.finish()?;
        let mut outcome = Outcome {
            plain,
            ..Outcome::default()
        };
        if !complete {
            outcome.stops.insert(Stop::TooMany);
        }
        if self.start > 0 {
            return Ok(outcome);
        }
        let mut head = [0; 512];
        let length = self.content.read_at(root.files(), 0, &mut head)?;
        if Hidden::detect(&head[..length]).is_some() {
            let mut bytes = Bytes::new(root, self.content, 0, u64::MAX);
            let left = MAX_TOTAL_UNPACKED_BYTES.saturating_sub(unpacked.load(Ordering::Relaxed));
            let result = Unpack::search(self.path, &mut bytes, left.min(MAX_UNPACKED_BYTES));
            bytes.finish()?;
            unpacked.fetch_add(result.bytes, Ordering::Relaxed);
            outcome.unpacked = result.found;
            outcome.stops.extend(result.stops);
        }
        Ok(outcome)
    }
}

/// Reads a range of a file in sequence, and keeps a read error that a decoder would lose.
pub(super) struct Bytes<'a> {
    root: &'a Root<'a>,
    content: &'a Content,
    at: u64,
    end: u64,
    failed: Option<ReadError>,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(root: &'a Root<'a>, content: &'a Content, at: u64, end: u64) -> Self {
        Self {
            root,
            content,
            at,
            end,
            failed: None,
        }
    }

    pub(super) fn finish(self) -> Result<(), ReadError> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let files = self.root.files();
        match self.content.read_at(files, self.at, &mut buffer[..length]) {
            Ok(read) => {
                self.at += read as u64;
                Ok(read)
            }
            Err(error) => {
                self.failed = Some(error);
                Err(std::io::ErrorKind::Other.into())
            }
        }
    }
}

/// Returns the findings in one file: one for each rule, and one if the search is incomplete.
fn report(path: &[u8], outcomes: Vec<Outcome>) -> Vec<Finding> {
    let path = String::from_utf8_lossy(path);
    let mut stops = BTreeSet::new();
    let (mut plain, mut unpacked) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        stops.extend(outcome.stops);
        plain.extend(outcome.plain);
        unpacked.extend(outcome.unpacked);
    }
    // A file that an archive stores uncompressed is searched twice: as part of the archive, and unpacked.
    let known: HashSet<_> = plain.iter().map(|found| found.digest.clone()).collect();
    unpacked.retain(|found| !known.contains(&found.digest));
    let mut by_rule: BTreeMap<usize, Vec<(bool, Located)>> = BTreeMap::new();
    for (is_unpacked, found) in [(false, plain), (true, unpacked)] {
        for found in found {
            let places = by_rule.entry(found.rule).or_default();
            places.push((is_unpacked, found));
        }
    }
    let found = by_rule
        .into_iter()
        .map(|(rule, places)| finding(&path, rule, places));
    let incomplete = (!stops.is_empty()).then(|| incomplete(&path, &stops));
    found.chain(incomplete).collect()
}

fn finding(path: &str, rule: usize, mut places: Vec<(bool, Located)>) -> Finding {
    let rule = &RULES[rule];
    places.sort_by_key(|(unpacked, found)| (*unpacked, found.start));
    let id = format!("secret:{}:{path}", rule.name);
    let mut finding = Finding::new("secret", id.as_str(), rule.severity, rule.title.as_str());
    finding.path = Some(path.to_owned());
    let mut evidence: Vec<_> = places
        .iter()
        .take(MAX_PLACES)
        .map(|(unpacked, found)| evidence(found, *unpacked, rule.chosen))
        .collect();
    if places.len() > MAX_PLACES {
        evidence.push(format!("and {} more", places.len() - MAX_PLACES));
    }
    finding.evidence = evidence.join("; ");
    let revoke = if rule.chosen {
        "change the password wherever it is valid"
    } else {
        "revoke it and create a new one"
    };
    finding.fix = format!("remove it from the image, and {revoke}: every copy of the image has it");
    finding.accept = accept(&id);
    finding
}

fn evidence(found: &Located, unpacked: bool, chosen: bool) -> String {
    let place = match found.line {
        Some(line) => format!("line {line}"),
        None => format!("byte {}", found.start),
    };
    let place = match &found.inside {
        Some(inside) => format!("in {inside}, {place}"),
        None if unpacked => format!("unpacked, {place}"),
        None => place,
    };
    let length = found.end - found.start;
    if chosen {
        return format!("{place}: {length} characters");
    }
    let prefix = match found.prefix {
        "" => String::new(),
        prefix => format!(" that begin with `{prefix}`"),
    };
    let proof = if found.certain {
        ", checksum or format verified"
    } else {
        ""
    };
    let digest = &found.digest;
    format!("{place}: {length} characters{prefix}, digest {digest}...{proof}")
}

/// Returns the finding that a file was searched in part only.
fn incomplete(path: &str, stops: &BTreeSet<Stop>) -> Finding {
    let id = format!("secret-not-searched:{path}");
    let title = "a file was not searched completely for secrets";
    let mut finding = Finding::new("secret-not-searched", id.as_str(), Severity::Low, title);
    finding.path = Some(path.to_owned());
    let reasons: Vec<_> = stops.iter().map(Stop::to_string).collect();
    finding.evidence = format!("not searched: {}", reasons.join("; "));
    "remove the file from the image, or inspect it by hand and accept the finding"
        .clone_into(&mut finding.fix);
    finding.accept = accept(&id);
    finding
}
