//! A raw disk in a file, with holes where it is zero.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use sha2::{Digest as _, Sha256};

use super::{Unhashed, WriteError};
use crate::digest::Digest;
use crate::disk::content::Content;
use crate::disk::read::BlockRead;
use crate::disk::tree::Watch;
use crate::os::ordered::{CHUNK, in_order};

/// Blocks of zeros this large become holes.
const HOLE: usize = 1 << 16;
/// Chunks that wait for being hashed.
const WAITING: usize = 4;

/// Writes a disk to a new, empty file.
///
/// # Errors
/// The disk cannot be read, the file cannot be written, or the work was told to stop.
pub fn write_raw(
    disk: &dyn BlockRead,
    file: &File,
    path: &Path,
    threads: usize,
    watch: Watch<'_>,
) -> Result<Unhashed, WriteError> {
    let failed = |source| WriteError::Io {
        path: path.to_owned(),
        source,
    };
    file.set_len(disk.len()).map_err(failed)?;
    let mut content = Content::new(disk.len());
    let digest = std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let hashing = scope.spawn(|| hash(receiver, disk.len(), watch));
        let work =
            |(): &mut (), bytes: Vec<u8>| Ok((<[u8; 32]>::from(Sha256::digest(&bytes)), bytes));
        in_order(
            disk,
            threads,
            watch,
            || Ok(()),
            work,
            |offset, (digest, bytes)| {
                content.add(offset, digest);
                put(file, offset, &bytes).map_err(failed)?;
                // It waits for chunks as long as there is a sender, so it is there.
                sender
                    .send((offset, bytes))
                    .map_err(|_| failed(io::Error::other("cancelled")))
            },
        )?;
        drop(sender);
        hashing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(failed)
    })?;
    Ok(Unhashed {
        virtual_size: disk.len(),
        size: disk.len(),
        digest: Some(digest),
        content: content.finish(),
    })
}

fn put(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    for (at, block) in (offset..).step_by(HOLE).zip(bytes.chunks(HOLE)) {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at)?;
        }
    }
    Ok(())
}

/// Hashes chunks as they come, and the zeros between them.
fn hash(chunks: Receiver<(u64, Vec<u8>)>, size: u64, watch: Watch<'_>) -> io::Result<Digest> {
    let zeros = vec![0; CHUNK];
    let mut hasher = Sha256::new();
    let mut at = 0;
    let skip = |hasher: &mut Sha256, at: &mut u64, to: u64| {
        while *at < to {
            watch.stop.check()?;
            let length = usize::try_from(to - *at).map_or(CHUNK, |left| left.min(CHUNK));
            hasher.update(&zeros[..length]);
            *at += length as u64;
        }
        Ok::<_, io::Error>(())
    };
    for (offset, bytes) in chunks {
        skip(&mut hasher, &mut at, offset)?;
        hasher.update(&bytes);
        at += bytes.len() as u64;
    }
    skip(&mut hasher, &mut at, size)?;
    Ok(Digest::from_hasher(hasher))
}
