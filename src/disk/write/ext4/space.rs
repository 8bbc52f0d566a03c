//! Blocks handed out from the start to the end, past those that have a fixed place.
//!
//! A container compresses a disk in clusters, and a store keeps what two images have in common once. If files lay one after
//! another, one that has grown by a block would move all behind it to other places within their clusters, and none of these would
//! be as it was. So files start where a cluster does, large ones always and small ones now and then: what has grown moves the
//! others by whole clusters or not at all. The blocks in between stay free.

use std::ops::Range;

use super::WriteError;

/// Bytes of a cluster of qcow2.
pub(super) const CLUSTER: usize = 1 << 16;

/// Where clusters start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Blocks of a cluster.
    cluster: u64,
    /// Blocks of a cluster that come before the first block.
    before: u64,
}

impl Grid {
    /// For a partition that starts at this offset of the disk.
    pub(super) fn new(block_size: usize, offset: u64) -> Self {
        let cluster = (CLUSTER / block_size).max(1) as u64;
        // A partition that no block fits has blocks that reach over clusters, always in the same way.
        let before = offset / block_size as u64 % cluster;
        Self { cluster, before }
    }

    /// Clusters do not matter.
    pub(super) fn none() -> Self {
        let (cluster, before) = (1, 0);
        Self { cluster, before }
    }

    /// The first block from this one on that starts a cluster.
    fn up(self, block: u64) -> u64 {
        (block + self.before).next_multiple_of(self.cluster) - self.before
    }
}

/// Where a file is to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Behind the one before.
    Anywhere,
    /// With a cluster.
    Cluster,
    /// The same for every piece that it is in.
    EachPiece,
}

/// The blocks of a file system.
#[derive(Debug)]
pub(super) struct Space {
    fixed: Vec<Range<u64>>,
    /// The first of `fixed` that is not behind `next`.
    ahead: usize,
    next: u64,
    blocks: u64,
    grid: Grid,
    start: Start,
    /// What was handed out, in order.
    taken: Vec<Range<u64>>,
}

impl Space {
    /// All blocks but `fixed`, which is in order.
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

    /// What is taken next is the start of another file.
    pub(super) fn begin(&mut self, start: Start) {
        self.start = start;
    }

    /// The next `count` blocks, in as few pieces as there can be.
    pub(super) fn take(&mut self, mut count: u64) -> Result<Vec<Range<u64>>, WriteError> {
        let mut pieces: Vec<Range<u64>> = Vec::new();
        let start = if count > 0 {
            std::mem::replace(&mut self.start, Start::Anywhere)
        } else {
            Start::Anywhere
        };
        while count > 0 {
            self.advance(match start {
                Start::Anywhere => false,
                Start::Cluster => pieces.is_empty(),
                Start::EachPiece => true,
            });
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
            pieces.push(self.next..self.next + length);
            self.next += length;
            count -= length;
        }
        for piece in &pieces {
            match self.taken.last_mut() {
                Some(last) if last.end == piece.start => last.end = piece.end,
                _ => self.taken.push(piece.clone()),
            }
        }
        Ok(pieces)
    }

    /// Goes to where the next piece can start.
    fn advance(&mut self, to_cluster: bool) {
        loop {
            while let Some(fixed) = self.fixed.get(self.ahead)
                && fixed.start <= self.next
            {
                self.next = self.next.max(fixed.end);
                self.ahead += 1;
            }
            let aligned = self.grid.up(self.next);
            if !to_cluster || aligned == self.next {
                return;
            }
            self.next = aligned;
        }
    }

    /// The next block.
    pub(super) fn take_one(&mut self) -> Result<u64, WriteError> {
        Ok(self.take(1)?.first().map_or(0, |piece| piece.start))
    }

    /// Every block that is in use, in order.
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
    fn pieces_go_around_what_is_fixed() {
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
    fn files_start_where_a_cluster_does() {
        // 16 blocks a cluster, the first of them at block 14.
        let grid = Grid::new(4096, (1 << 20) + (2 << 12));
        let mut space = Space::new(vec![0..3, 40..50], 200, grid);
        for (start, count, expected) in [
            (Start::Cluster, 0, &[][..]),
            (Start::Anywhere, 2, &[(3, 5)]),
            (Start::Cluster, 3, &[(14, 17)]),
            (Start::Anywhere, 1, &[(17, 18)]),
            (Start::EachPiece, 20, &[(30, 40), (62, 72)]),
            (Start::Cluster, 90, &[(78, 168)]),
            (Start::Cluster, 1, &[(174, 175)]),
        ] {
            space.begin(start);
            let pieces = space.take(count).unwrap().into_iter();
            let pieces: Vec<_> = pieces.map(|piece| (piece.start, piece.end)).collect();
            assert_eq!(pieces, expected, "{start:?} {count}");
        }
        assert_eq!(space.used()[2..4], [14..18, 30..40]);
        // Blocks of a disk whose partitions are not where blocks are, and blocks larger than clusters.
        assert_eq!(Grid::new(4096, 63 * 512).up(1), 9);
        assert_eq!(Grid::new(1 << 17, 1 << 20).up(1), 1);
    }
}
