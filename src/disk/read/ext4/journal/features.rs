//! Features of a journal.

/// A compatible feature: one checksum for a whole transaction. Versions 2 and 3 came with `metadata_csum`.
pub(super) const HAS_OLD_CHECKSUM: u32 = 0x1;
pub(super) const HAS_REVOKE: u32 = 0x1;
pub(super) const HAS_64BIT: u32 = 0x2;
pub(super) const HAS_ASYNC_COMMIT: u32 = 0x4;
pub(super) const HAS_CSUM_V2: u32 = 0x8;
pub(super) const HAS_CSUM_V3: u32 = 0x10;
pub(super) const HAS_FAST_COMMIT: u32 = 0x20;
pub(super) const KNOWN: u32 = HAS_REVOKE | HAS_64BIT | HAS_CSUM_V2 | HAS_CSUM_V3 | HAS_FAST_COMMIT;
