//! Raw image files with holes where the disk is zero.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use sha2::{Digest as _, Sha256};

use super::chunks::map_chunks;
use super::{UnhashedImage, WriteError};
use crate::digest::Digest;
use crate::disk::content::ContentHasher;
use crate::disk::read::BlockRead;
use crate::disk::tree::Monitor;
use crate::os::hash_stream::StreamHash;

/// Blocks of zeros this large become holes.
const HOLE: usize = 1 << 16;
/// Chunks queued for hashing.
const MAX_QUEUED: usize = 4;

/// Writes a disk to a new, empty file.
///
/// # Errors
/// The disk cannot be read, the file cannot be written, or the work was cancelled.
pub fn write_raw(
    disk: &dyn BlockRead,
    file: &File,
    path: &Path,
    threads: usize,
    monitor: Monitor<'_>,
) -> Result<UnhashedImage, WriteError> {
    let failed = |source| WriteError::Io {
        path: path.to_owned(),
        source,
    };
    file.set_len(disk.len()).map_err(failed)?;
    let mut content = ContentHasher::new(disk.len());
    let digest = std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(MAX_QUEUED);
        let hashing = scope.spawn(|| hash(receiver, disk.len(), monitor));
        let work =
            |(): &mut (), bytes: Vec<u8>| Ok((<[u8; 32]>::from(Sha256::digest(&bytes)), bytes));
        map_chunks(
            disk,
            threads,
            monitor,
            || Ok(()),
            work,
            |offset, (digest, bytes)| {
                content.add(offset, digest);
                put(file, offset, &bytes).map_err(failed)?;
                // The hashing thread ends early only when the work was cancelled.
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
    Ok(UnhashedImage {
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
fn hash(chunks: Receiver<(u64, Vec<u8>)>, size: u64, monitor: Monitor<'_>) -> io::Result<Digest> {
    let mut hash = StreamHash::default();
    let fill = |hash: &mut StreamHash, offset: u64| match offset - hash.length() {
        0 => Ok(()),
        gap => hash.read(io::repeat(0).take(gap), monitor.stop, |_| {}),
    };
    for (offset, bytes) in chunks {
        fill(&mut hash, offset)?;
        hash.update(&bytes);
    }
    fill(&mut hash, size)?;
    Ok(hash.digest())
}
