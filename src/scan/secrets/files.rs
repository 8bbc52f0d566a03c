//! The files of an image, looked through by all threads of the machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::rules::RULES;
use super::text::{AFTER, BEFORE, Found, Part, search};
use super::unpack::{Hidden, MOST, MOST_OF_ALL, Stop, Unpack};
use crate::disk::read::{Kind, ReadError};
use crate::disk::tree::{Content, File};
use crate::scan::{Finding, Root, ScanError, root};

/// What one thread takes of a file in one go.
pub(super) const PART: u64 = 4 << 20;
/// All files together: what is said to be more is no real disk.
const ALL: u64 = 2 << 40;
/// Places that a finding names.
const PLACES: usize = 5;

/// Looks for secrets in all regular files but those in `skip`: indices of [`Tree::files`](crate::disk::tree::Tree::files),
/// which are byte for byte what their packages have.
///
/// # Errors
/// A file cannot be read, or claims to be larger than any disk.
pub fn check<S: BuildHasher>(
    root: &Root,
    skip: &HashSet<usize, S>,
) -> Result<Vec<Finding>, ScanError> {
    let jobs = jobs(root, skip)?;
    let done = run_all(root, &jobs)?;
    let mut paths: HashMap<usize, &[u8]> = HashMap::new();
    for job in &jobs {
        paths.insert(job.file, job.path);
    }
    let mut of_path: BTreeMap<&[u8], Vec<Outcome>> = BTreeMap::new();
    for (file, outcome) in done {
        of_path.entry(paths[&file]).or_default().push(outcome);
    }
    Ok(of_path
        .into_iter()
        .flat_map(|(path, outcomes)| report(path, outcomes))
        .collect())
}

/// Does all jobs on all threads of the machine.
fn run_all(root: &Root, jobs: &[Job]) -> Result<Vec<(usize, Outcome)>, ReadError> {
    let next = AtomicUsize::new(0);
    let unpacked = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let work = || -> Result<Vec<(usize, Outcome)>, ReadError> {
        let mut done = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = job.run(root, &unpacked)?;
            if !outcome.is_nothing() {
                done.push((job.file, outcome));
            }
        }
        Ok(done)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().expect("a search does not panic")?);
        }
        Ok(all)
    })
}

/// A part of a file to be looked at.
struct Job<'a> {
    path: &'a [u8],
    file: usize,
    start: u64,
}

/// What was found in a part of a file.
#[derive(Default)]
struct Outcome {
    plain: Vec<Found>,
    unpacked: Vec<Found>,
    /// Why not all of it was looked at.
    stops: BTreeSet<Stop>,
}

impl Outcome {
    fn is_nothing(&self) -> bool {
        self.plain.is_empty() && self.unpacked.is_empty() && self.stops.is_empty()
    }
}

/// All files in parts, each file once.
fn jobs<'a, S: BuildHasher>(
    root: &Root<'a>,
    skip: &HashSet<usize, S>,
) -> Result<Vec<Job<'a>>, ScanError> {
    let mut seen = HashSet::new();
    let mut jobs = Vec::new();
    let mut all = 0_u64;
    for (path, index) in root.tree().paths() {
        let file = &root.tree().files()[index];
        if file.kind != Kind::File || skip.contains(&index) || !seen.insert(index) {
            continue;
        }
        let source = source_of(path).and_then(|source| root.tree().find(&source));
        if source.is_some_and(|source| skip.contains(&source)) {
            continue;
        }
        for start in parts(root, file)? {
            all = all.saturating_add(PART);
            if all > ALL {
                return Err(ScanError::TooLarge {
                    path: root::shown(path),
                    size: file.content.size(),
                });
            }
            jobs.push(Job {
                path,
                file: index,
                start,
            });
        }
    }
    Ok(jobs)
}

/// The source of compiled Python. What is compiled on the machine has no sum, but all of its text is the source's.
fn source_of(path: &[u8]) -> Option<Vec<u8>> {
    let path = path.strip_suffix(b".pyc")?;
    let at = memchr::memmem::rfind(path, b"/__pycache__/")?;
    let name = path[at..].strip_prefix(b"/__pycache__/")?;
    let name = name.split(|byte| *byte == b'.').next()?;
    let in_the_directory = !name.is_empty() && !name.contains(&b'/');
    in_the_directory.then(|| [&path[..at], b"/", name, b".py"].concat())
}

/// Where the parts of a file start that are not holes.
pub(super) fn parts(root: &Root, file: &File) -> Result<BTreeSet<u64>, ReadError> {
    let size = file.content.size();
    let Content::Inode { inode, .. } = file.content else {
        return Ok((0..size.div_ceil(PART)).map(|part| part * PART).collect());
    };
    if size <= PART {
        return Ok((0..size.min(1)).collect());
    }
    let mut starts = BTreeSet::new();
    for run in root.files().runs(inode)? {
        let end = run.offset.saturating_add(run.length).min(size);
        let parts = run.offset / PART..end.div_ceil(PART);
        // More cannot be looked at, and none need be remembered.
        starts.extend(
            parts
                .take(usize::try_from(ALL / PART + 1).unwrap_or(usize::MAX))
                .map(|part| part * PART),
        );
    }
    Ok(starts)
}

impl Job<'_> {
    fn run(&self, root: &Root, unpacked: &AtomicU64) -> Result<Outcome, ReadError> {
        let content = &root.tree().files()[self.file].content;
        let from = self.start.saturating_sub(BEFORE as u64);
        let end = self.start + PART;
        let mut bytes = Bytes::new(root, content, from, end + AFTER as u64);
        let part = Part {
            from,
            start: self.start,
            end,
        };
        let (plain, all) = search(self.path, &mut bytes, part);
        bytes.finish()?;
        let mut outcome = Outcome {
            plain,
            ..Outcome::default()
        };
        if !all {
            outcome.stops.insert(Stop::TooMany);
        }
        if self.start > 0 {
            return Ok(outcome);
        }
        let mut head = [0; 512];
        let length = content.read_at(root.files(), 0, &mut head)?;
        if Hidden::of(&head[..length]).is_some() {
            let mut bytes = Bytes::new(root, content, 0, u64::MAX);
            let all = unpacked.load(Ordering::Relaxed);
            let most = MOST_OF_ALL.saturating_sub(all).min(MOST);
            let unpack = Unpack::all(self.path, &mut bytes, most);
            bytes.finish()?;
            unpacked.fetch_add(unpack.bytes, Ordering::Relaxed);
            outcome.unpacked = unpack.found;
            outcome.stops.extend(unpack.stops);
        }
        Ok(outcome)
    }
}

/// A file's bytes one after another. What the file system says is kept, for decoders lose it.
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
        match self
            .content
            .read_at(self.root.files(), self.at, &mut buffer[..length])
        {
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

/// The findings in one file: one for each rule.
fn report(path: &[u8], outcomes: Vec<Outcome>) -> Vec<Finding> {
    let shown = String::from_utf8_lossy(path).into_owned();
    let stops: BTreeSet<Stop> = outcomes
        .iter()
        .flat_map(|outcome| outcome.stops.iter().cloned())
        .collect();
    // What an archive has as it is, is found in it and in its file.
    let known: HashSet<String> = outcomes
        .iter()
        .flat_map(|outcome| outcome.plain.iter().map(|found| found.digest.clone()))
        .collect();
    let mut of_rule: BTreeMap<usize, Vec<(Found, bool)>> = BTreeMap::new();
    for outcome in outcomes {
        let plain = outcome.plain.into_iter().map(|found| (found, false));
        let unpacked = outcome.unpacked.into_iter();
        let unpacked = unpacked.filter(|found| !known.contains(&found.digest));
        let unpacked = unpacked.map(|found| (found, true));
        for (found, unpacked) in plain.chain(unpacked) {
            of_rule
                .entry(found.rule)
                .or_default()
                .push((found, unpacked));
        }
    }
    let mut findings: Vec<_> = of_rule
        .into_iter()
        .map(|(rule, places)| finding(&shown, rule, places))
        .collect();
    if !stops.is_empty() {
        findings.push(not_all(&shown, &stops));
    }
    findings
}

fn finding(path: &str, rule: usize, mut places: Vec<(Found, bool)>) -> Finding {
    let rule = &RULES[rule];
    places.sort_by_key(|(found, unpacked)| (*unpacked, found.start));
    let id = format!("secret:{}:{path}", rule.name);
    let mut finding = Finding::new("secret", id.as_str(), rule.severity, rule.what);
    finding.path = Some(path.to_owned());
    let shown: Vec<_> = places
        .iter()
        .take(PLACES)
        .map(|(found, unpacked)| evidence(found, *unpacked, rule.chosen))
        .collect();
    finding.evidence = shown.join("; ");
    if places.len() > PLACES {
        let more = places.len() - PLACES;
        finding.evidence = format!("{}; and {more} more", finding.evidence);
    }
    let revoke = if rule.chosen {
        "change it where it is valid"
    } else {
        "revoke it and make a new one"
    };
    finding.mend = format!("remove it from the image, and {revoke}: whoever had the image has it");
    finding.accept = super::accept(&id);
    finding
}

fn evidence(found: &Found, unpacked: bool, chosen: bool) -> String {
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
    let begin = match found.public {
        "" => String::new(),
        public => format!(" that begin with `{public}`"),
    };
    let proof = if found.certain {
        ", its form is proved"
    } else {
        ""
    };
    let digest = &found.digest;
    format!("{place}: {length} characters{begin}, digest {digest}...{proof}")
}

/// What was not looked at is said, not left out.
fn not_all(path: &str, stops: &BTreeSet<Stop>) -> Finding {
    let id = format!("secret-not-searched:{path}");
    let title = "secrets were not looked for in all of a file";
    let mut finding = Finding::new(
        "secret-not-searched",
        id.as_str(),
        crate::scan::Severity::Low,
        title,
    );
    finding.path = Some(path.to_owned());
    let says: Vec<_> = stops.iter().map(Stop::says).collect();
    finding.evidence = format!("not searched: {}", says.join("; "));
    "remove it from the image, or look into it yourself and accept the finding"
        .clone_into(&mut finding.mend);
    finding.accept = super::accept(&id);
    finding
}
