//! MD5 of many files: what dpkg has of each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use md5::{Digest as _, Md5};

use super::super::root::shown;
use super::{Root, ScanError};
use crate::disk::tree::Content;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// Holes are hashed, too, half a GiB a second: a hostile disk could claim files of 16 TiB.
const MOST_BYTES: u64 = 64 << 30;

/// An MD5.
pub type Sum = [u8; 16];

/// Reads each of these files of the tree once.
pub fn sums(
    root: &Root<'_>,
    mut wanted: Vec<usize>,
    threads: usize,
) -> Result<HashMap<usize, Sum>, ScanError> {
    let files = root.tree().files();
    // About the order in which they lie on the disk.
    wanted.sort_by_key(|&file| match files[file].content {
        Content::Inode { inode, .. } => (inode.0, file),
        _ => (0, file),
    });
    let all = wanted.iter().fold(0, |all: u64, &file| {
        all.saturating_add(files[file].content.size())
    });
    if all > MOST_BYTES {
        return Err(ScanError::TooLarge {
            path: shown(b"/"),
            size: all,
        });
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; PIECE];
        let mut done = Vec::new();
        while let Some(&file) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((file, sum(root, &files[file].content, &mut buffer)?));
        }
        Ok::<_, ScanError>(done)
    };
    let mut sums = HashMap::with_capacity(wanted.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let done = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sums.extend(done?);
        }
        Ok(sums)
    })
}

fn sum(root: &Root<'_>, content: &Content, buffer: &mut [u8]) -> Result<Sum, ScanError> {
    let mut hasher = Md5::new();
    let mut offset = 0;
    loop {
        let count = content.read_at(root.files(), offset, buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&buffer[..count]);
        offset += count as u64;
    }
}
