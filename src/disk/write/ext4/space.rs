//! Allocates blocks from the start to the end, around blocks with a fixed position.
//!
//! A container compresses a disk in clusters, and a store deduplicates equal data of two images. If files were packed without
//! gaps, one that grows by a block would shift all files after it within their clusters, and none of these clusters would be
//! equal any longer. So files start at clusters, large ones always and small ones now and then: a file that grows shifts the
//! others by whole clusters or not at all. The blocks in between stay free.

use std::ops::Range;

use super::WriteError;

/// Bytes of a cluster of qcow2.
pub(super) const CLUSTER: usize = 1 << 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Blocks of a cluster.
    cluster: u64,
    /// Blocks between the start of a cluster and the first block of the partition.
    before: u64,
}

impl Grid {
    /// Returns the grid of a partition that starts at `offset` of the disk.
    pub(super) fn new(block_size: usize, offset: u64) -> Self {
        let cluster = (CLUSTER / block_size).max(1) as u64;
        // In an unaligned partition, blocks cross clusters, always in the same way.
        let before = offset / block_size as u64 % cluster;
        Self { cluster, before }
    }

    /// Returns a grid in which every block starts a cluster.
    pub(super) fn none() -> Self {
        Self {
            cluster: 1,
            before: 0,
        }
    }

    /// Rounds up to a block that starts a cluster.
    fn round_up(self, block: u64) -> u64 {
        (block + self.before).next_multiple_of(self.cluster) - self.before
    }
}

/// Alignment of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Directly after the previous file.
    Anywhere,
    /// At the start of a cluster.
    Cluster,
    /// Each of its ranges at a cluster.
    ClusterEach,
}

/// The blocks of a file system.
#[derive(Debug)]
pub(super) struct Space {
    fixed: Vec<Range<u64>>,
    /// Index of the first range of `fixed` after `next`.
    ahead: usize,
    next: u64,
    blocks: u64,
    grid: Grid,
    start: Start,
    /// Allocated ranges, in order.
    taken: Vec<Range<u64>>,
}

impl Space {
    /// Makes all blocks available except `fixed`, which must be in order.
    pub(super) fn new(fixed: Vec<Range<u64>>, blocks: u64, grid: Grid) -> Self {
        Self {
            fixed,
            ahead: 0,
            next: 0,
            blocks,
            grid,
            start: Start::Anywhere,
            taken: Vec::new(),
        }
    }

    /// Sets the alignment of the next allocation.
    pub(super) fn begin(&mut self, start: Start) {
        self.start = start;
    }

    /// Allocates the next `count` blocks, in as few ranges as possible.
    pub(super) fn take(&mut self, mut count: u64) -> Result<Vec<Range<u64>>, WriteError> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let start = if count > 0 {
            std::mem::replace(&mut self.start, Start::Anywhere)
        } else {
            Start::Anywhere
        };
        while count > 0 {
            match start {
                Start::Cluster if !ranges.is_empty() => self.advance(Start::Anywhere),
                start => self.advance(start),
            }
            let end = self
                .fixed
                .get(self.ahead)
                .map_or(self.blocks, |fixed| fixed.start);
            let length = count.min(end.saturating_sub(self.next));
            if length == 0 {
                return Err(WriteError::Full {
                    blocks: self.blocks,
                });
            }
            ranges.push(self.next..self.next + length);
            self.next += length;
            count -= length;
        }
        for range in &ranges {
            match self.taken.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.taken.push(range.clone()),
            }
        }
        Ok(ranges)
    }

    /// Moves to the first free block at which a range can start.
    fn advance(&mut self, start: Start) {
        loop {
            while let Some(fixed) = self.fixed.get(self.ahead)
                && fixed.start <= self.next
            {
                self.next = self.next.max(fixed.end);
                self.ahead += 1;
            }
            let aligned = self.grid.round_up(self.next);
            if start == Start::Anywhere || aligned == self.next {
                return;
            }
            self.next = aligned;
        }
    }

    /// Allocates the next block.
    pub(super) fn take_one(&mut self) -> Result<u64, WriteError> {
        Ok(self.take(1)?.first().map_or(0, |range| range.start))
    }

    /// Returns all ranges in use, in order.
    pub(super) fn used(&self) -> Vec<Range<u64>> {
        let mut used = [self.taken.as_slice(), self.fixed.as_slice()].concat();
        used.sort_unstable_by_key(|range| range.start);
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_around_fixed_blocks() {
        let mut space = Space::new(vec![0..2, 5..6, 6..8, 20..21], 24, Grid::none());
        for (count, expected) in [(0, &[][..]), (5, &[2..5, 8..10])] {
            assert_eq!(space.take(count).unwrap(), expected, "{count}");
        }
        assert_eq!(space.used(), [0..2, 2..5, 5..6, 6..8, 8..10, 20..21]);
        assert_eq!(space.take_one().unwrap(), 10);
        assert_eq!(space.take(12).unwrap(), [11..20, 21..24]);
        assert!(space.take(1).is_err());
    }

    #[test]
    fn files_start_at_clusters() {
        // 16 blocks a cluster, the first of them at block 14.
        let grid = Grid::new(4096, (1 << 20) + (2 << 12));
        let mut space = Space::new(vec![0..3, 40..50], 200, grid);
        for (start, count, expected) in [
            (Start::Cluster, 0, &[][..]),
            (Start::Anywhere, 2, &[(3, 5)]),
            (Start::Cluster, 3, &[(14, 17)]),
            (Start::Anywhere, 1, &[(17, 18)]),
            (Start::ClusterEach, 20, &[(30, 40), (62, 72)]),
            (Start::Cluster, 90, &[(78, 168)]),
            (Start::Cluster, 1, &[(174, 175)]),
        ] {
            space.begin(start);
            let ranges = space.take(count).unwrap().into_iter();
            let ranges: Vec<_> = ranges.map(|range| (range.start, range.end)).collect();
            assert_eq!(ranges, expected, "{start:?} {count}");
        }
        assert_eq!(space.used()[2..4], [14..18, 30..40]);
        // An unaligned partition, and blocks larger than clusters.
        assert_eq!(Grid::new(4096, 63 * 512).round_up(1), 9);
        assert_eq!(Grid::new(1 << 17, 1 << 20).round_up(1), 1);
    }
}
