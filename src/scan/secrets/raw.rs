//! The template's own secrets on the raw disk: in files, in what deleted files left behind, between partitions.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use aho_corasick::AhoCorasick;

use super::files::{self, Bytes};
use crate::disk::read::{BlockRead, Kind, ReadError};
use crate::scan::root::shown;
use crate::scan::{Finding, Root, ScanError, Severity};
use crate::secret::{Secrets, disguises};

/// Bytes that a thread looks at in one go.
const PIECE: u64 = 4 << 20;
/// More of a long secret need not be compared to know it again.
const LONGEST: usize = 256;
/// Shorter values are found in every disk by chance.
const SHORTEST: usize = 6;
/// Parts of a secret that are as long as a key are looked for on their own: a key may be copied without its frame.
const SHORTEST_PART: usize = 24;
/// Different characters in a part that nobody but its owner writes.
const DIFFERENT: usize = 12;
/// Two of these fit into each line of base64: PEM has the shortest, of 64 characters.
const LINE_PIECE: usize = 32;
/// Places that a finding names.
const PLACES: usize = 5;

/// Looks for the values of `secrets` in all that is on a disk, free blocks included; what is known to be zero is not read.
///
/// They are found as they are and as the redactor knows them (base64, percent-encoded, quoted), in hex and in UTF-16.
/// What is compressed, or torn apart between blocks that do not follow each other, is not found. Files of `root` that have
/// one are named.
///
/// # Errors
/// The disk cannot be read.
pub fn raw(
    root: &Root<'_>,
    disk: &dyn BlockRead,
    secrets: &Secrets,
) -> Result<Vec<Finding>, ScanError> {
    let names: Vec<&str> = secrets.iter().map(|(name, _)| name).collect();
    let wanted = Wanted::new(secrets);
    let mut findings: Vec<_> = wanted.short.iter().map(|name| too_short(name)).collect();
    let mut places = wanted.search(disk)?;
    places.sort_unstable();
    places.dedup();
    let files = if places.is_empty() {
        Vec::new()
    } else {
        wanted.files(root)?
    };
    for (index, name) in names.iter().enumerate() {
        let of_this = files.iter().filter(|(secret, _)| *secret == index);
        let files: Vec<_> = of_this.map(|(_, path)| path.as_str()).collect();
        let here: Vec<u64> = places
            .iter()
            .filter(|(secret, _)| *secret == index)
            .map(|(_, offset)| *offset)
            .collect();
        if !here.is_empty() {
            findings.push(found(name, &files, &here));
        }
    }
    Ok(findings)
}

fn found(name: &str, files: &[&str], places: &[u64]) -> Finding {
    let id = format!("secret:template:{name}");
    let title = format!("the value of the template's secret `{name}` is on the disk");
    let mut finding = Finding::new("secret", id.as_str(), Severity::Critical, title);
    finding.path = files.first().map(|&path| path.to_owned());
    let places: Vec<_> = places.iter().map(u64::to_string).collect();
    let places = format!("at byte {} of the disk", some_of(&places));
    finding.evidence = match files {
        [] => format!("{places}, in no file that is there"),
        files => format!("in {}; {places}", some_of(files)),
    };
    "find the step that writes it and hand it over by environment or standard input instead; build again, and change the secret if the image has left this machine"
        .clone_into(&mut finding.mend);
    finding.accept = super::accept(&id);
    finding
}

/// The first ones, and how many more there are.
fn some_of<S: AsRef<str>>(all: &[S]) -> String {
    let shown: Vec<_> = all.iter().take(PLACES).map(AsRef::as_ref).collect();
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn too_short(name: &str) -> Finding {
    let id = format!("secret-not-searched:template:{name}");
    let title = format!("the value of the template's secret `{name}` is too short to look for");
    let mut finding = Finding::new("secret-not-searched", id.as_str(), Severity::Low, title);
    finding.evidence =
        format!("fewer than {SHORTEST} bytes: every disk has them somewhere by chance");
    "use a longer secret".clone_into(&mut finding.mend);
    finding.accept = super::accept(&id);
    finding
}

/// What is looked for.
struct Wanted<'a> {
    automaton: Option<AhoCorasick>,
    /// The secret that each pattern belongs to.
    owner: Vec<usize>,
    longest: usize,
    short: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(secrets: &'a Secrets) -> Self {
        let (mut patterns, mut owner, mut short) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (name, value)) in secrets.iter().enumerate() {
            if value.trim().len() < SHORTEST {
                short.push(name);
                continue;
            }
            let of_this = shapes(value);
            owner.extend(std::iter::repeat_n(index, of_this.len()));
            patterns.extend(of_this);
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        let automaton = (!patterns.is_empty()).then(|| {
            AhoCorasick::new(&patterns).expect("some hundred patterns of some hundred bytes fit")
        });
        Self {
            automaton,
            owner,
            longest,
            short,
        }
    }

    /// Every place of every secret: its index, and the offset.
    fn search(&self, disk: &dyn BlockRead) -> Result<Vec<(usize, u64)>, ReadError> {
        let Some(automaton) = &self.automaton else {
            return Ok(Vec::new());
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let next = Mutex::new(Pieces { disk, at: 0 });
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.work(automaton, disk, &next)))
                .collect();
            let mut places = Vec::new();
            for worker in workers {
                places.extend(worker.join().expect("a search does not panic")?);
            }
            Ok(places)
        })
    }

    /// Every file that has one: the secret's index, and the path.
    fn files(&self, root: &Root<'_>) -> Result<Vec<(usize, String)>, ScanError> {
        let Some(automaton) = &self.automaton else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        for (path, index) in root.tree().paths() {
            let file = &root.tree().files()[index];
            if file.kind != Kind::File {
                continue;
            }
            let mut secrets = BTreeSet::new();
            for start in files::parts(root, file)? {
                let from = start.saturating_sub(self.longest as u64);
                let end = (start + files::PART).min(file.content.size());
                let mut part = Bytes::new(root, &file.content, from, end);
                buffer.clear();
                // What goes wrong is kept for the next line.
                part.read_to_end(&mut buffer).ok();
                part.finish()?;
                let here = automaton.find_overlapping_iter(&buffer);
                secrets.extend(here.map(|it| self.owner[it.pattern().as_usize()]));
            }
            let path = shown(path).display().to_string();
            found.extend(secrets.into_iter().map(|secret| (secret, path.clone())));
        }
        Ok(found)
    }

    fn work(
        &self,
        automaton: &AhoCorasick,
        disk: &dyn BlockRead,
        next: &Mutex<Pieces<'_>>,
    ) -> Result<Vec<(usize, u64)>, ReadError> {
        let mut places = Vec::new();
        let mut buffer = Vec::new();
        loop {
            let piece = next.lock().unwrap_or_else(PoisonError::into_inner).next()?;
            let Some((start, end)) = piece else {
                return Ok(places);
            };
            // What begins in front of the piece and ends in it is found here.
            let from = start.saturating_sub(self.longest as u64);
            let length = usize::try_from(end - from).unwrap_or(usize::MAX);
            buffer.resize(length, 0);
            disk.read_at(from, &mut buffer)?;
            for found in automaton.find_overlapping_iter(&buffer) {
                if from + found.end() as u64 > start {
                    let secret = self.owner[found.pattern().as_usize()];
                    places.push((secret, from + found.start() as u64));
                }
            }
        }
    }
}

/// What is left of a disk to look at.
struct Pieces<'a> {
    disk: &'a dyn BlockRead,
    at: u64,
}

impl Pieces<'_> {
    /// The next bytes that may not be zero: start and end.
    fn next(&mut self) -> Result<Option<(u64, u64)>, ReadError> {
        let mut start = None;
        while self.at < self.disk.len() {
            let span = self.disk.span(self.at)?;
            let left = self.disk.len() - self.at;
            // A span is never empty, but a disk that says so must not hang us.
            let length = span.length.clamp(1, left);
            match start {
                None if span.zero => self.at += length,
                Some(_) if span.zero => break,
                _ => {
                    let begun = *start.get_or_insert(self.at);
                    self.at += length.min(begun + PIECE - self.at);
                    if self.at - begun >= PIECE {
                        break;
                    }
                }
            }
        }
        Ok(start.map(|start| (start, self.at)))
    }
}

/// How a secret may stand on a disk.
fn shapes(value: &str) -> BTreeSet<Vec<u8>> {
    let trimmed = value.trim();
    let parts = trimmed
        .split(|c: char| c.is_whitespace() || "\"',;".contains(c))
        .filter(|part| is_key(part));
    let mut shapes = BTreeSet::new();
    for text in std::iter::once(trimmed).chain(parts) {
        shapes.extend(disguises(text).into_iter().map(String::into_bytes));
        if is_key(text) {
            shapes.extend(in_lines(text));
        }
        let hex = data_encoding::HEXLOWER.encode(text.as_bytes());
        shapes.insert(hex.to_uppercase().into_bytes());
        shapes.insert(hex.into_bytes());
        shapes.insert(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    shapes
        .into_iter()
        .map(|mut shape| {
            shape.truncate(LONGEST);
            shape
        })
        .filter(|shape| shape.len() >= SHORTEST)
        .collect()
}

/// Pieces of its base64 of which one at least is whole where lines are broken, as `base64` and PEM do: two in a row are
/// not longer than a line.
fn in_lines(text: &str) -> Vec<Vec<u8>> {
    // Within the first and the last four characters are bits of what stands beside it.
    let encoded = (0..3).map(|before| {
        let text = [&b"xx"[..before], text.as_bytes()].concat();
        let encoded = data_encoding::BASE64.encode(&text);
        encoded[4..encoded.len() - 4].to_owned()
    });
    let pieces = encoded.flat_map(|encoded| {
        let starts = [0, LINE_PIECE];
        let piece = |start: usize| encoded.get(start..start + LINE_PIECE).map(Vec::from);
        starts.into_iter().filter_map(piece).collect::<Vec<_>>()
    });
    pieces.collect()
}

/// Whether part of a secret is one by itself: no frame of a PEM file, no word, no address.
fn is_key(part: &str) -> bool {
    let different: BTreeSet<char> = part.chars().collect();
    part.len() >= SHORTEST_PART
        && different.len() >= DIFFERENT
        && part.contains(|c: char| c.is_ascii_digit())
        && part.contains(|c: char| c.is_ascii_alphabetic())
        && !part.contains("://")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::disk::read::{Memory, Span};
    use crate::scan::testing::Planted;

    fn secrets(pairs: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (name, value) in pairs {
            secrets.insert((*name).to_owned(), SecretString::from(*value));
        }
        secrets
    }

    fn searched(disk: &dyn BlockRead, secrets: &Secrets) -> Result<Vec<Finding>, ScanError> {
        raw(&Planted::default().root(), disk, secrets)
    }

    /// A disk of which only one part is said not to be zero.
    struct Sparse(Memory, std::ops::Range<u64>);

    impl BlockRead for Sparse {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
            self.0.read_at(offset, buffer)
        }
        fn span(&self, offset: u64) -> Result<Span, ReadError> {
            let (end, zero) = if offset < self.1.start {
                (self.1.start, true)
            } else if offset < self.1.end {
                // Clusters of a qcow2 file follow each other one by one.
                ((offset / 65536 + 1) * 65536, false)
            } else {
                (self.len(), true)
            };
            Ok(Span {
                length: end.min(self.len()) - offset,
                zero,
            })
        }
    }

    #[test]
    fn a_secret_is_found_wherever_and_however_it_stands() {
        let value = "correct/horse battery-9";
        let utf16: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes()).into_bytes();
        for (name, written) in [
            ("plain", value.as_bytes().to_vec()),
            ("base64", base64(value)),
            ("base64 after one", base64(&format!("x{value}yz"))),
            ("base64 after two", base64(&format!("xy{value}z"))),
            ("percent", b"correct%2Fhorse%20battery-9".to_vec()),
            (
                "hex",
                data_encoding::HEXLOWER
                    .encode(value.as_bytes())
                    .into_bytes(),
            ),
            ("utf-16", utf16),
        ] {
            for at in [0, 4096, PIECE - 3, PIECE, 2 * PIECE - 40] {
                let mut disk = vec![0x55; 2 * usize::try_from(PIECE).unwrap() + 40];
                let start = usize::try_from(at).unwrap();
                disk[start..start + written.len()].copy_from_slice(&written);
                let found = searched(&Memory(disk), &secrets(&[("token", value)])).unwrap();
                assert_eq!(found.len(), 1, "{name} at {at}: {found:?}");
                assert_eq!(found[0].id, "secret:template:token");
                assert!(!format!("{found:?}").contains("horse"), "{name} at {at}");
            }
        }
    }

    #[test]
    fn base64_in_lines_is_found_wherever_they_are_broken() {
        let value = "q7Zr3nXw9LmT1vKd5GhB8sJc2YpF6uAeQ4iOoRzNxMbVgHkPlWtSyUaEjDfC0";
        let all = secrets(&[("token", value)]);
        for width in [64, 76] {
            for before in 0..width {
                let text = format!("{}{value}, and more", ".".repeat(before));
                let encoded = data_encoding::BASE64.encode(text.as_bytes());
                let lines: Vec<_> = encoded
                    .as_bytes()
                    .chunks(width)
                    .map(String::from_utf8_lossy)
                    .collect();
                let disk = Memory(lines.join("\n").into_bytes());
                let found = searched(&disk, &all).unwrap();
                assert_eq!(found.len(), 1, "{before} bytes before, lines of {width}");
            }
        }
    }

    #[test]
    fn places_are_counted_once_and_the_frame_of_a_key_is_no_secret() {
        let key = "-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIDl3xzTbq1vR\n-----END KEY-----\n";
        let all = secrets(&[("key", key), ("other", "nowhere-to-be-seen")]);
        let frame = b"see -----BEGIN KEY----- here".to_vec();
        assert_eq!(searched(&Memory(frame), &all).unwrap(), []);
        let found = searched(&Memory(key.replace('\n', "").into_bytes()), &all).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].evidence,
            "at byte 19 of the disk, in no file that is there"
        );
        assert_eq!(
            searched(&Memory(Vec::new()), &Secrets::default()).unwrap(),
            []
        );
    }

    #[test]
    fn holes_are_not_read_and_their_borders_are() {
        let mut bytes = vec![0; 1 << 20];
        for at in [65536, 131_060, 262_130, 524_288] {
            bytes[at..at + 12].copy_from_slice(b"long-enough!");
        }
        let disk = Sparse(Memory(bytes), 65536..262_144);
        let found = searched(&disk, &secrets(&[("s", "long-enough!")])).unwrap();
        let expected = "at byte 65536, 131060, 262130 of the disk, in no file that is there";
        assert_eq!(
            found[0].evidence, expected,
            "what is in a hole does not count"
        );
    }

    #[test]
    fn a_value_that_is_too_short_is_said_and_not_looked_for() {
        let found = searched(&Memory(b"abc abc".to_vec()), &secrets(&[("s", "abc")])).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].check, "secret-not-searched");
    }

    #[test]
    fn the_files_that_have_a_secret_are_named_and_what_is_in_none_is_said_to_be() {
        let value = "correct/horse battery-9";
        let tree = Planted::default()
            .file("/srv/settings", 0o644, format!("token: {value}\n"))
            .file("/srv/other", 0o644, "token: another\n");
        let disk = Memory(format!("{value}{value}").into_bytes());
        for (tree, path, evidence) in [
            (
                tree,
                Some("/srv/settings"),
                "in /srv/settings; at byte 0, 23 of the disk",
            ),
            (
                Planted::default(),
                None,
                "at byte 0, 23 of the disk, in no file that is there",
            ),
        ] {
            let found = raw(&tree.root(), &disk, &secrets(&[("token", value)])).unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].path.as_deref(), path);
            assert_eq!(found[0].evidence, evidence);
        }
    }
}
