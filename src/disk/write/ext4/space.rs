//! Blocks handed out from the start to the end, past those that have a fixed place.

use std::ops::Range;

use super::WriteError;

/// The blocks of a file system.
#[derive(Debug)]
pub(super) struct Space {
    fixed: Vec<Range<u64>>,
    /// The first of `fixed` that is not behind `next`.
    ahead: usize,
    next: u64,
    blocks: u64,
}

impl Space {
    /// All blocks but `fixed`, which is in order.
    pub(super) fn new(fixed: Vec<Range<u64>>, blocks: u64) -> Self {
        Self {
            fixed,
            ahead: 0,
            next: 0,
            blocks,
        }
    }

    /// The next `count` blocks, in as few pieces as there can be.
    pub(super) fn take(&mut self, mut count: u64) -> Result<Vec<Range<u64>>, WriteError> {
        let mut pieces: Vec<Range<u64>> = Vec::new();
        while count > 0 {
            while let Some(fixed) = self.fixed.get(self.ahead)
                && fixed.start <= self.next
            {
                self.next = self.next.max(fixed.end);
                self.ahead += 1;
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
            pieces.push(self.next..self.next + length);
            self.next += length;
            count -= length;
        }
        Ok(pieces)
    }

    /// The next block.
    pub(super) fn take_one(&mut self) -> Result<u64, WriteError> {
        Ok(self.take(1)?.first().map_or(0, |piece| piece.start))
    }

    /// Every block that is in use, in order.
    pub(super) fn used(&self) -> Vec<Range<u64>> {
        let ahead = self.fixed[self.ahead..].iter().cloned();
        std::iter::once(0..self.next).chain(ahead).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_go_around_what_is_fixed() {
        let mut space = Space::new(vec![0..2, 5..6, 6..8, 20..21], 24);
        for (count, expected) in [(0, &[][..]), (5, &[2..5, 8..10])] {
            assert_eq!(space.take(count).unwrap(), expected, "{count}");
        }
        assert_eq!(space.used(), [0..10, 20..21]);
        assert_eq!(space.take_one().unwrap(), 10);
        assert_eq!(space.take(12).unwrap(), [11..20, 21..24]);
        assert!(space.take(1).is_err());
    }
}
