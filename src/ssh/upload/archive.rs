//! The items as a tar archive. Its last members say how the far side checks what it has unpacked.

use std::fs::File;
use std::io::{self, Read, Take};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tokio::sync::mpsc::Sender;

use super::checks::{self, Checks, Part};
use super::tree::{self, Body, Entry, Kind};
use crate::digest::Digest;
use crate::ssh::{Item, SshError};

const BLOCK: usize = 512;
/// Names up to this length fit into a header; longer ones go before it, in GNU's way.
const NAME: usize = 100;
/// What goes to the network at once.
const PIECE: usize = 256 << 10;

/// Everything that is to be sent; files are still on the disk.
pub(super) struct Archive {
    entries: Vec<Entry>,
    tops: Vec<(Kind, Vec<u8>)>,
}

impl Archive {
    /// Looks at every file, and refuses what cannot be sent.
    pub(super) fn plan(items: Vec<(Item, usize)>) -> Result<Self, SshError> {
        let mut entries = Vec::new();
        let tops = items
            .into_iter()
            .map(|(item, group)| tree::add(item, group, &mut entries))
            .collect::<Result<_, _>>()?;
        Ok(Self { entries, tops })
    }

    /// Of each item: what it is, and its name in the archive.
    pub(super) fn tops(&self) -> impl Iterator<Item = (Kind, &[u8])> {
        self.tops
            .iter()
            .map(|(kind, name)| (*kind, name.as_slice()))
    }

    /// Makes the archive, piece by piece. Ends early when nobody takes the pieces any more.
    pub(super) fn write(self, to: Sender<Vec<u8>>) -> Result<(), SshError> {
        let mut pieces = Pieces {
            pending: Vec::with_capacity(PIECE),
            to,
        };
        let mut checks = Checks::default();
        for entry in &self.entries {
            checks.add(&entry.name, &pieces.entry(entry)?);
        }
        for (name, text) in checks.members() {
            pieces.entry(&Entry {
                name: name.into(),
                mode: checks::MODE,
                body: Body::Content(text),
            })?;
        }
        pieces.zeros(END as u64);
        pieces.flush();
        Ok(())
    }
}

/// Two empty blocks end an archive.
const END: usize = 2 * BLOCK;

impl Entry {
    fn size(&self) -> u64 {
        match &self.body {
            Body::Directory => 0,
            Body::File { size, .. } => *size,
            Body::Content(bytes) => bytes.len() as u64,
        }
    }
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

/// The blocks before an entry's bytes.
fn headers(entry: &Entry) -> Vec<u8> {
    let kind = match entry.body {
        Body::Directory => EntryType::Directory,
        Body::File { .. } | Body::Content(_) => EntryType::Regular,
    };
    let mut blocks = Vec::with_capacity(BLOCK);
    if entry.name.len() > NAME {
        let size = entry.name.len() + 1;
        blocks.extend_from_slice(&header(
            b"././@LongLink",
            EntryType::GNULongName,
            0o644,
            size as u64,
        ));
        blocks.extend_from_slice(&entry.name);
        blocks.resize(BLOCK + size.next_multiple_of(BLOCK), 0);
    }
    let short = &entry.name[..entry.name.len().min(NAME)];
    blocks.extend_from_slice(&header(short, kind, entry.mode, entry.size()));
    blocks
}

fn header(name: &[u8], kind: EntryType, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}

fn unreadable(path: &Path, source: io::Error) -> SshError {
    SshError::Source {
        path: path.to_owned(),
        source,
    }
}

/// Gathers bytes into pieces and hands them on.
struct Pieces {
    pending: Vec<u8>,
    to: Sender<Vec<u8>>,
}

impl Pieces {
    /// A member of the archive; returns the digests of its content.
    fn entry(&mut self, entry: &Entry) -> Result<Vec<Part>, SshError> {
        self.bytes(&headers(entry));
        let size = entry.size();
        let parts = match &entry.body {
            Body::Directory => Vec::new(),
            Body::Content(bytes) => {
                self.bytes(bytes);
                vec![Part {
                    length: size,
                    digest: Digest::of(bytes),
                }]
            }
            Body::File { path, size } => self.file(path, *size)?,
        };
        self.zeros(padded(size) - size);
        Ok(parts)
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(PIECE - self.pending.len());
            self.pending.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.flush_if_full();
        }
    }

    fn zeros(&mut self, count: u64) {
        for _ in 0..count / BLOCK as u64 {
            self.bytes(&[0; BLOCK]);
        }
        let rest = usize::try_from(count % BLOCK as u64).expect("less than a block");
        self.bytes(&[0; BLOCK][..rest]);
    }

    /// Exactly `size` bytes of a file: its header has told how many there are.
    fn file(&mut self, path: &Path, size: u64) -> Result<Vec<Part>, SshError> {
        let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
        let part = |length| {
            let digest = self.part(path, (&mut file).take(length))?;
            Ok(Part { length, digest })
        };
        checks::lengths(size).into_iter().map(part).collect()
    }

    fn part(&mut self, path: &Path, mut file: Take<&mut File>) -> Result<Digest, SshError> {
        let mut hasher = Sha256::new();
        // When nobody takes the pieces any more, the digest does not matter.
        while file.limit() > 0 && !self.to.is_closed() {
            let start = self.pending.len();
            let count = (&mut file)
                .take((PIECE - start) as u64)
                .read_to_end(&mut self.pending)
                .map_err(|source| unreadable(path, source))?;
            if count == 0 {
                return Err(SshError::Unsendable {
                    path: path.to_owned(),
                    problem: "it became shorter while it was being sent".to_owned(),
                });
            }
            hasher.update(&self.pending[start..]);
            self.flush_if_full();
        }
        Ok(Digest::from_hasher(hasher))
    }

    fn flush_if_full(&mut self) {
        if self.pending.len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE));
        // The command at the other end is gone; what it said is the error.
        let _gone = self.to.blocking_send(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::ItemSource;

    fn archive(bytes: &[u8], destination: &str) -> Archive {
        let item = Item {
            source: ItemSource::Bytes(bytes.to_vec()),
            destination: destination.to_owned(),
            mode: None,
            owner: "root:root".to_owned(),
        };
        Archive::plan(vec![(item, 0)]).unwrap()
    }

    #[test]
    fn tar_reads_what_is_sent_and_the_digests_after_it() {
        let long = format!("/{}", "n".repeat(150));
        for (size, destination) in [
            (0, "/a"),
            (1, "/b"),
            (512, "/c"),
            (PIECE + 7, "/d"),
            (3, long.as_str()),
        ] {
            let bytes = vec![7; size];
            let (sender, mut pieces) = tokio::sync::mpsc::channel(100);
            archive(&bytes, destination).write(sender).unwrap();
            let mut all = Vec::new();
            while let Some(piece) = pieces.blocking_recv() {
                all.extend_from_slice(&piece);
            }
            let mut read = tar::Archive::new(all.as_slice());
            let members: Vec<(String, Vec<u8>)> = read
                .entries()
                .unwrap()
                .map(|entry| {
                    let mut entry = entry.unwrap();
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).unwrap();
                    (entry.path().unwrap().display().to_string(), bytes)
                })
                .collect();
            let name = format!("g0{destination}");
            let sums = format!("{}  {name}\n", Digest::of(&bytes).hex());
            let expected = [
                (name, bytes),
                ("sums".to_owned(), sums.into_bytes()),
                ("checks".to_owned(), b"many\n".to_vec()),
            ];
            assert!(members == expected, "{size} bytes to {destination}");
        }
    }
}
