//! Hash chain of an append-only log: records are numbered from 1, and each carries the digest of the one before. So no record
//! can be changed, removed or inserted without breaking the chain.

use crate::digest::Digest;

/// Position in a hash chain: the end of the records that were verified so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct HashChain {
    number: u64,
    last: Option<Digest>,
}

impl HashChain {
    /// Returns the number of the next record.
    pub(crate) fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// Returns the digest of the last record.
    pub(crate) fn last(&self) -> Option<Digest> {
        self.last
    }

    /// Verifies number and `before` of the next record, whose own digest is `digest`. The error is what is wrong with it.
    pub(crate) fn push(
        &mut self,
        number: u64,
        before: Option<Digest>,
        digest: Digest,
    ) -> Result<(), &'static str> {
        if number != self.next_number() {
            return Err("has the wrong number");
        }
        if before != self.last {
            return Err("does not follow from the one before");
        }
        self.number = number;
        self.last = Some(digest);
        Ok(())
    }
}
