//! Searches the raw disk for the template's own secrets: in files, in the remains of deleted files, between partitions.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use rayon::prelude::*;

use super::files::{self, Bytes};
use super::{MAX_PLACES, accept};
use crate::disk::read::{BlockRead, FileType, ReadError};
use crate::scan::root::display_path;
use crate::scan::{Finding, Root, ScanError, Severity};
use crate::secret::{Secrets, disguises};

/// Bytes that a thread searches at once.
const CHUNK_BYTES: u64 = 4 << 20;
/// A longer secret is recognized by its start.
const MAX_PATTERN_BYTES: usize = 256;
/// Shorter values occur on every disk by chance.
const MIN_SECRET_BYTES: usize = 6;
/// Minimum length of a part of a secret that is searched for on its own: a key may be copied without its PEM frame.
const MIN_PART_BYTES: usize = 24;
/// Minimum number of different characters in such a part, so that it is unlikely to occur elsewhere.
const MIN_PART_CHARACTERS: usize = 12;
/// Two of these fit into each line of base64: PEM has the shortest lines, of 64 characters.
const LINE_PIECE_BYTES: usize = 32;

/// Searches a whole disk for the values of `secrets`, including free blocks; blocks that are known to be zero are not read.
///
/// The values are found verbatim, in the encodings that the redactor knows (base64, percent-encoded, quoted), in hex and
/// in UTF-16. Values that are compressed, or split between blocks that are not adjacent, are not found. Findings name the
/// files of `root` that contain a value.
///
/// # Errors
/// Fails if the disk cannot be read.
pub fn search_disk(
    root: &Root<'_>,
    disk: &dyn BlockRead,
    secrets: &Secrets,
) -> Result<Vec<Finding>, ScanError> {
    let mut findings = Vec::new();
    let (mut names, mut patterns, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in secrets.iter() {
        if value.trim().len() < MIN_SECRET_BYTES {
            findings.push(too_short(name));
            continue;
        }
        patterns.extend(shapes(value));
        owners.resize(patterns.len(), names.len());
        names.push(name);
    }
    if patterns.is_empty() {
        return Ok(findings);
    }
    let patterns = Patterns {
        automaton: AhoCorasick::new(&patterns).expect("a few hundred short patterns fit"),
        owners,
        longest: patterns.iter().map(Vec::len).max().unwrap_or_default(),
    };
    let places = patterns.search(disk)?;
    if places.is_empty() {
        return Ok(findings);
    }
    let files = patterns.files(root)?;
    for (secret, name) in names.into_iter().enumerate() {
        let here = places.range((secret, 0)..=(secret, u64::MAX));
        let here: Vec<_> = here.map(|(_, offset)| offset.to_string()).collect();
        let files = files.iter().filter(|(owner, _)| *owner == secret);
        let files: Vec<_> = files.map(|(_, path)| path.clone()).collect();
        if !here.is_empty() {
            findings.push(found(name, &files, &here));
        }
    }
    Ok(findings)
}

fn found(name: &str, files: &[String], offsets: &[String]) -> Finding {
    let id = format!("secret:template:{name}");
    let title = format!("the value of the template's secret `{name}` is on the disk");
    let mut finding = Finding::new("secret", id.as_str(), Severity::Critical, title);
    finding.path = files.first().cloned();
    let places = format!("at byte {} of the disk", first_few(offsets));
    finding.evidence = match files {
        [] => format!("{places}, in no existing file"),
        files => format!("in {}; {places}", first_few(files)),
    };
    "find the step that writes it, and pass it by environment or standard input instead; build again, and change the secret if the image has left this machine"
        .clone_into(&mut finding.fix);
    finding.accept = accept(&id);
    finding
}

/// Lists the first items, and how many more there are.
fn first_few(all: &[String]) -> String {
    let shown = &all[..all.len().min(MAX_PLACES)];
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn too_short(name: &str) -> Finding {
    let id = format!("secret-not-searched:template:{name}");
    let title = format!("the value of the template's secret `{name}` is too short to search for");
    let mut finding = Finding::new("secret-not-searched", id.as_str(), Severity::Low, title);
    finding.evidence =
        format!("it has fewer than {MIN_SECRET_BYTES} bytes, which occur on every disk by chance");
    "choose a longer secret".clone_into(&mut finding.fix);
    finding.accept = accept(&id);
    finding
}

/// The forms of all secrets, searched for in one pass.
struct Patterns {
    automaton: AhoCorasick,
    /// Index of the secret that each pattern belongs to.
    owners: Vec<usize>,
    longest: usize,
}

impl Patterns {
    /// Returns each place of each secret: the secret's index and the offset on the disk.
    fn search(&self, disk: &dyn BlockRead) -> Result<BTreeSet<(usize, u64)>, ReadError> {
        let mut at = 0;
        let chunks = std::iter::from_fn(|| next_chunk(disk, &mut at).transpose());
        let places = chunks.par_bridge().map_init(Vec::new, |buffer, chunk| {
            let chunk = chunk?;
            // A match that begins before the chunk and ends in it is found here.
            let from = chunk.start.saturating_sub(self.longest as u64);
            buffer.resize(usize::try_from(chunk.end - from).unwrap_or(usize::MAX), 0);
            disk.read_at(from, buffer)?;
            let matches = self.automaton.find_overlapping_iter(buffer.as_slice());
            let matches = matches.filter(|found| from + found.end() as u64 > chunk.start);
            let place = |found: aho_corasick::Match| {
                let secret = self.owners[found.pattern().as_usize()];
                (secret, from + found.start() as u64)
            };
            Ok(matches.map(place).collect::<Vec<_>>())
        });
        let places: Result<Vec<_>, ReadError> = places.collect();
        Ok(places?.into_iter().flatten().collect())
    }

    /// Returns each file that contains a secret: the secret's index and the path.
    fn files(&self, root: &Root<'_>) -> Result<Vec<(usize, String)>, ScanError> {
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        for (path, index) in root.tree().paths() {
            let file = &root.tree().files()[index];
            if file.kind != FileType::File {
                continue;
            }
            let mut secrets = BTreeSet::new();
            for start in files::starts(root, file)? {
                let from = start.saturating_sub(self.longest as u64);
                let end = (start + files::JOB_BYTES).min(file.content.size());
                let mut part = Bytes::new(root, &file.content, from, end);
                buffer.clear();
                // `finish` returns the error.
                part.read_to_end(&mut buffer).ok();
                part.finish()?;
                let matches = self.automaton.find_overlapping_iter(&buffer);
                secrets.extend(matches.map(|found| self.owners[found.pattern().as_usize()]));
            }
            let path = display_path(path).display().to_string();
            found.extend(secrets.into_iter().map(|secret| (secret, path.clone())));
        }
        Ok(found)
    }
}

/// Returns the next range of a disk from `at` on that may hold anything but zeros, and moves `at` behind it.
fn next_chunk(disk: &dyn BlockRead, at: &mut u64) -> Result<Option<Range<u64>>, ReadError> {
    let mut start = None;
    while *at < disk.len() {
        let span = disk.span(*at)?;
        // A span is never empty, but a disk that claims one must not hang the scan.
        let length = span.length.clamp(1, disk.len() - *at);
        match start {
            None if span.zero => *at += length,
            Some(_) if span.zero => break,
            _ => {
                let begun = *start.get_or_insert(*at);
                *at += length.min(begun + CHUNK_BYTES - *at);
                if *at - begun >= CHUNK_BYTES {
                    break;
                }
            }
        }
    }
    Ok(start.map(|start| start..*at))
}

/// Returns the forms that a secret may have on a disk.
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
    let truncated = shapes.into_iter().map(|mut shape| {
        shape.truncate(MAX_PATTERN_BYTES);
        shape
    });
    truncated
        .filter(|shape| shape.len() >= MIN_SECRET_BYTES)
        .collect()
}

/// Returns pieces of a secret's base64, one of which at least stays whole where lines are broken, as `base64` and PEM do:
/// two adjacent pieces are not longer than a line.
fn in_lines(text: &str) -> Vec<Vec<u8>> {
    // The first and the last four characters hold bits of the neighbouring bytes.
    let encoded = (0..3).map(|before| {
        let text = [&b"xx"[..before], text.as_bytes()].concat();
        let encoded = data_encoding::BASE64.encode(&text);
        encoded[4..encoded.len() - 4].to_owned()
    });
    let pieces = encoded.flat_map(|encoded| {
        [0, LINE_PIECE_BYTES].map(|start| {
            let piece = encoded.get(start..start + LINE_PIECE_BYTES);
            piece.map(Vec::from)
        })
    });
    pieces.flatten().collect()
}

/// Returns whether part of a secret is a secret on its own, not a PEM frame, a word or an address.
fn is_key(part: &str) -> bool {
    let different: BTreeSet<char> = part.chars().collect();
    part.len() >= MIN_PART_BYTES
        && different.len() >= MIN_PART_CHARACTERS
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
        search_disk(&Planted::default().root(), disk, secrets)
    }

    /// A disk that claims to be zero outside of one range.
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
            for at in [0, 4096, CHUNK_BYTES - 3, CHUNK_BYTES, 2 * CHUNK_BYTES - 40] {
                let mut disk = vec![0x55; 2 * usize::try_from(CHUNK_BYTES).unwrap() + 40];
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
            "at byte 19 of the disk, in no existing file"
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
        let expected = "at byte 65536, 131060, 262130 of the disk, in no existing file";
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
                "at byte 0, 23 of the disk, in no existing file",
            ),
        ] {
            let found = search_disk(&tree.root(), &disk, &secrets(&[("token", value)])).unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].path.as_deref(), path);
            assert_eq!(found[0].evidence, evidence);
        }
    }
}
