//! Builds the tar archive of an upload. Its last members tell the remote side how to check the files.

use std::fs::File;
use std::io::{self, Read, Take};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};
use tokio::sync::mpsc::Sender;

use super::checks::{self, CheckedRange, Checks};
use super::tree::{self, Body, ItemKind, Member};
use crate::digest::Digest;
use crate::ssh::{SshError, UploadItem};

const BLOCK_BYTES: usize = 512;
/// Longer names go before the header, in GNU's format.
const MAX_NAME_BYTES: usize = 100;
/// Size of the chunks sent to the network.
const CHUNK_BYTES: usize = 256 << 10;

/// Plan of an archive; the content of its files is still on the disk.
pub(super) struct Archive {
    members: Vec<Member>,
    roots: Vec<(ItemKind, Vec<u8>)>,
}

impl Archive {
    /// Lists the files of all items; fails on a file that cannot be sent.
    pub(super) fn plan(items: Vec<(UploadItem, usize)>) -> Result<Self, SshError> {
        let mut members = Vec::new();
        let roots = items
            .into_iter()
            .map(|(item, group)| tree::add(item, group, &mut members))
            .collect::<Result<_, _>>()?;
        Ok(Self { members, roots })
    }

    /// Returns each item's kind and its name in the archive.
    pub(super) fn roots(&self) -> impl Iterator<Item = (ItemKind, &[u8])> {
        self.roots
            .iter()
            .map(|(kind, name)| (*kind, name.as_slice()))
    }

    /// Writes the archive in chunks. Stops early if the receiver is dropped.
    pub(super) fn write(self, to: Sender<Vec<u8>>) -> Result<(), SshError> {
        let mut writer = ChunkWriter {
            pending: Vec::with_capacity(CHUNK_BYTES),
            to,
        };
        let mut checks = Checks::default();
        for member in &self.members {
            checks.add(&member.name, &writer.member(member)?);
        }
        for (name, text) in checks.members() {
            writer.member(&Member {
                name: name.into(),
                mode: checks::MODE,
                body: Body::Content(text),
            })?;
        }
        writer.zeros(END_BYTES as u64);
        writer.flush();
        Ok(())
    }
}

/// Two empty blocks end an archive.
const END_BYTES: usize = 2 * BLOCK_BYTES;

impl Member {
    fn size(&self) -> u64 {
        match &self.body {
            Body::Directory => 0,
            Body::File { size, .. } => *size,
            Body::Content(bytes) => bytes.len() as u64,
        }
    }
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64)
}

/// Returns the header blocks of a member.
fn headers(member: &Member) -> Vec<u8> {
    let kind = match member.body {
        Body::Directory => EntryType::Directory,
        Body::File { .. } | Body::Content(_) => EntryType::Regular,
    };
    let mut blocks = Vec::with_capacity(BLOCK_BYTES);
    if member.name.len() > MAX_NAME_BYTES {
        let size = member.name.len() + 1;
        blocks.extend_from_slice(&header(
            b"././@LongLink",
            EntryType::GNULongName,
            0o644,
            size as u64,
        ));
        blocks.extend_from_slice(&member.name);
        blocks.resize(BLOCK_BYTES + size.next_multiple_of(BLOCK_BYTES), 0);
    }
    let short = &member.name[..member.name.len().min(MAX_NAME_BYTES)];
    blocks.extend_from_slice(&header(short, kind, member.mode, member.size()));
    blocks
}

fn header(name: &[u8], kind: EntryType, mode: u32, size: u64) -> [u8; BLOCK_BYTES] {
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

/// Collects bytes into chunks for the network.
struct ChunkWriter {
    pending: Vec<u8>,
    to: Sender<Vec<u8>>,
}

impl ChunkWriter {
    /// Writes a member and returns the digests of its content.
    fn member(&mut self, member: &Member) -> Result<Vec<CheckedRange>, SshError> {
        self.bytes(&headers(member));
        let size = member.size();
        let ranges = match &member.body {
            Body::Directory => Vec::new(),
            Body::Content(bytes) => {
                self.bytes(bytes);
                vec![CheckedRange {
                    length: size,
                    digest: Digest::of(bytes),
                }]
            }
            Body::File { path, size } => self.file(path, *size)?,
        };
        self.zeros(padded(size) - size);
        Ok(ranges)
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(CHUNK_BYTES - self.pending.len());
            self.pending.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.flush_if_full();
        }
    }

    fn zeros(&mut self, count: u64) {
        for _ in 0..count / BLOCK_BYTES as u64 {
            self.bytes(&[0; BLOCK_BYTES]);
        }
        let rest = usize::try_from(count % BLOCK_BYTES as u64).expect("less than a block");
        self.bytes(&[0; BLOCK_BYTES][..rest]);
    }

    /// Writes exactly `size` bytes of a file, as its header announced.
    fn file(&mut self, path: &Path, size: u64) -> Result<Vec<CheckedRange>, SshError> {
        let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
        let range = |length| {
            let digest = self.range(path, (&mut file).take(length))?;
            Ok(CheckedRange { length, digest })
        };
        checks::lengths(size).into_iter().map(range).collect()
    }

    fn range(&mut self, path: &Path, mut file: Take<&mut File>) -> Result<Digest, SshError> {
        let mut hasher = Sha256::new();
        // Once the receiver is dropped, the digest does not matter.
        while file.limit() > 0 && !self.to.is_closed() {
            let start = self.pending.len();
            let count = (&mut file)
                .take((CHUNK_BYTES - start) as u64)
                .read_to_end(&mut self.pending)
                .map_err(|source| unreadable(path, source))?;
            if count == 0 {
                return Err(SshError::Unsendable {
                    path: path.to_owned(),
                    problem: "it shrank while it was sent".to_owned(),
                });
            }
            hasher.update(&self.pending[start..]);
            self.flush_if_full();
        }
        Ok(Digest::from_hasher(hasher))
    }

    fn flush_if_full(&mut self) {
        if self.pending.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK_BYTES));
        // If the remote command has exited, its stderr is the error to report.
        let _gone = self.to.blocking_send(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::UploadContent;

    fn archive(bytes: &[u8], destination: &str) -> Archive {
        let item = UploadItem {
            source: UploadContent::Bytes(bytes.to_vec()),
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
            (CHUNK_BYTES + 7, "/d"),
            (3, long.as_str()),
        ] {
            let bytes = vec![7; size];
            let (sender, mut chunks) = tokio::sync::mpsc::channel(100);
            archive(&bytes, destination).write(sender).unwrap();
            let mut all = Vec::new();
            while let Some(chunk) = chunks.blocking_recv() {
                all.extend_from_slice(&chunk);
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
