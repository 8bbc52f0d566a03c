//! The items as a tar archive whose length is known before it is made, so that the far side knows where it ends.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tokio::sync::mpsc::Sender;

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

    /// Bytes of the whole archive.
    pub(super) fn length(&self) -> u64 {
        let entry = |entry: &Entry| headers(entry).len() as u64 + padded(entry.size());
        self.entries.iter().map(entry).sum::<u64>() + END as u64
    }

    /// Makes the archive, piece by piece, and returns its digest. Ends early when nobody takes the pieces any more.
    pub(super) fn write(self, to: Sender<Vec<u8>>) -> Result<Digest, SshError> {
        let mut pieces = Pieces {
            pending: Vec::with_capacity(PIECE),
            hasher: Sha256::new(),
            to,
        };
        for entry in &self.entries {
            pieces.bytes(&headers(entry));
            match &entry.body {
                Body::Directory => {}
                Body::Content(bytes) => pieces.bytes(bytes),
                Body::File { path, size } => pieces.file(path, *size)?,
            }
            let size = entry.size();
            pieces.zeros(padded(size) - size);
        }
        pieces.zeros(END as u64);
        pieces.flush();
        Ok(Digest::from_hasher(pieces.hasher))
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

/// Gathers bytes into pieces, hashes them and hands them on.
struct Pieces {
    pending: Vec<u8>,
    hasher: Sha256,
    to: Sender<Vec<u8>>,
}

impl Pieces {
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

    /// Exactly `size` bytes of a file: the far side was told how many there are.
    fn file(&mut self, path: &Path, size: u64) -> Result<(), SshError> {
        let failed = |source| SshError::Source {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?.take(size);
        while file.limit() > 0 {
            let room = (PIECE - self.pending.len()) as u64;
            let count = (&mut file)
                .take(room)
                .read_to_end(&mut self.pending)
                .map_err(failed)?;
            if count == 0 {
                return Err(SshError::Unsendable {
                    path: path.to_owned(),
                    problem: "it became shorter while it was being sent".to_owned(),
                });
            }
            self.flush_if_full();
            if self.to.is_closed() {
                break;
            }
        }
        Ok(())
    }

    fn flush_if_full(&mut self) {
        if self.pending.len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE));
        self.hasher.update(&piece);
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
    fn the_length_told_is_the_length_sent_and_tar_reads_it() {
        let long = format!("/{}", "n".repeat(150));
        for (size, destination) in [
            (0, "/a"),
            (1, "/b"),
            (512, "/c"),
            (PIECE + 7, "/d"),
            (3, long.as_str()),
        ] {
            let archive = archive(&vec![7; size], destination);
            let length = archive.length();
            let (sender, mut pieces) = tokio::sync::mpsc::channel(100);
            let digest = archive.write(sender).unwrap();
            let mut all = Vec::new();
            while let Some(piece) = pieces.blocking_recv() {
                all.extend_from_slice(&piece);
            }
            assert_eq!(all.len() as u64, length, "{size}");
            assert_eq!(Digest::of(&all), digest);
            let mut read = tar::Archive::new(all.as_slice());
            let mut entries = read.entries().unwrap();
            let entry = entries.next().unwrap().unwrap();
            assert_eq!(
                entry.path().unwrap().display().to_string(),
                format!("g0{destination}")
            );
            assert_eq!(entry.size(), size as u64);
            assert!(entries.next().is_none());
        }
    }
}
