//! MD5 of many files: what dpkg has of each.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::md5::Digest as _;

use super::super::root::shown;
use super::md5::{LANES, Md5, padding};
use super::{Root, ScanError};
use crate::disk::tree::Content;

/// Bytes that are read at once of a file.
const PIECE: usize = 128 << 10;
/// Holes are hashed, too, half a GiB a second: a hostile disk could claim files of 16 TiB.
const MOST_BYTES: u64 = 64 << 30;

/// Without the optimizer, what is compiled here takes twenty times as long as the crate, which always has it.
const OPTIMIZED: bool = !cfg!(debug_assertions);

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
    let next = || wanted.get(next.fetch_add(1, Ordering::Relaxed)).copied();
    let work = || {
        if OPTIMIZED {
            side_by_side(root, &next)
        } else {
            one_by_one(root, &next)
        }
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

fn one_by_one(
    root: &Root<'_>,
    next: &dyn Fn() -> Option<usize>,
) -> Result<Vec<(usize, Sum)>, ScanError> {
    let mut done = Vec::new();
    while let Some(file) = next() {
        let mut lane = Lane::new(root, file);
        let mut md5 = ::md5::Md5::new();
        while lane.read(root)? {
            md5.update(&lane.buffer);
        }
        done.push((file, md5.finalize().into()));
    }
    Ok(done)
}

/// A file that is being read.
struct Lane<'a> {
    file: usize,
    content: &'a Content,
    offset: u64,
    buffer: Vec<u8>,
    /// What of the buffer is still to be taken.
    todo: Range<usize>,
    ended: bool,
}

/// Sums of what `next` gives, as many files at once as there are lanes.
fn side_by_side(
    root: &Root<'_>,
    next: &dyn Fn() -> Option<usize>,
) -> Result<Vec<(usize, Sum)>, ScanError> {
    let mut lanes: [Option<Lane<'_>>; LANES] = Default::default();
    let (mut md5, mut done) = (Md5::default(), Vec::new());
    loop {
        let mut least = usize::MAX;
        for (number, lane) in lanes.iter_mut().enumerate() {
            loop {
                if lane.is_none() {
                    // Whatever was in it before.
                    md5.take(number);
                    *lane = next().map(|file| Lane::new(root, file));
                }
                let Some(open) = lane else {
                    break;
                };
                if open.fill(root)? {
                    least = least.min(open.todo.len());
                    break;
                }
                done.push((open.file, md5.take(number)));
                *lane = None;
            }
        }
        if least == usize::MAX {
            return Ok(done);
        }
        // Lanes without a file go along with what others have.
        let some = lanes
            .iter()
            .flatten()
            .next()
            .map(Lane::rest)
            .unwrap_or_default();
        let rests = lanes
            .each_ref()
            .map(|lane| &lane.as_ref().map_or(some, Lane::rest)[..least]);
        md5.update(rests);
        for lane in lanes.iter_mut().flatten() {
            lane.todo.start += least;
        }
    }
}

impl<'a> Lane<'a> {
    fn new(root: &Root<'a>, file: usize) -> Self {
        let content = &root.tree().files()[file].content;
        Self {
            file,
            content,
            offset: 0,
            buffer: Vec::new(),
            todo: 0..0,
            ended: false,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.todo.clone()]
    }

    /// Reads on where all was taken, padding at the end: whole blocks. `false` where there are no more.
    fn fill(&mut self, root: &Root<'_>) -> Result<bool, ScanError> {
        if !self.todo.is_empty() {
            return Ok(true);
        }
        if self.ended {
            return Ok(false);
        }
        self.read(root)?;
        if self.buffer.len() < PIECE {
            self.ended = true;
            self.buffer.extend(padding(self.offset));
        }
        self.todo = 0..self.buffer.len();
        Ok(true)
    }

    /// Reads the next piece, a shorter one at the end; `false` where there is nothing.
    fn read(&mut self, root: &Root<'_>) -> Result<bool, ScanError> {
        let left = self.content.size().saturating_sub(self.offset);
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        self.buffer.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            let from = self.offset + filled as u64;
            let rest = &mut self.buffer[filled..];
            match self.content.read_at(root.files(), from, rest)? {
                0 => break,
                count => filled += count,
            }
        }
        self.buffer.truncate(filled);
        self.offset += filled as u64;
        Ok(filled > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::Planted;

    type Summing =
        fn(&Root<'_>, &dyn Fn() -> Option<usize>) -> Result<Vec<(usize, Sum)>, ScanError>;

    #[test]
    fn files_side_by_side_have_the_sums_that_they_have_alone() {
        let mut tree = Planted::default();
        for (number, size) in [
            (0..40).map(|it| it * 3).collect(),
            vec![PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5, 0, 2 * PIECE - 9],
        ]
        .concat()
        .into_iter()
        .enumerate()
        {
            tree = tree.file(
                &format!("/{number}"),
                0o644,
                "abcde".repeat(size / 5 + 1)[..size].to_owned(),
            );
        }
        let root = tree.root();
        let all = root.tree().files().len();
        let sums = |of: Summing| {
            let left = AtomicUsize::new(0);
            let next = || Some(left.fetch_add(1, Ordering::Relaxed)).filter(|it| *it < all);
            let mut sums = of(&root, &next).unwrap();
            sums.sort_unstable();
            sums
        };
        assert_eq!(sums(side_by_side), sums(one_by_one));
        assert!(all > 40);
    }
}
