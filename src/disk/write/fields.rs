//! Fields of on-disk structures, little-endian.

/// A structure of known size that is filled in field by field; what is not set stays zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fields(Vec<u8>);

impl Fields {
    pub(super) fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn put8(&mut self, at: usize, value: u8) {
        self.0[at] = value;
    }

    pub(super) fn put16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn put32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn put64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// The low and the high half of a number that grew after its first field had been placed.
    pub(super) fn put_halves(&mut self, low: usize, high: usize, value: u64) {
        self.put32(low, low32(value));
        self.put32(high, high32(value));
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The low 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is asked for")]
pub(super) const fn low32(value: u64) -> u32 {
    value as u32
}

/// The high 32 bits.
pub(super) const fn high32(value: u64) -> u32 {
    low32(value >> 32)
}

/// The low 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half is asked for")]
pub(super) const fn low16(value: u64) -> u16 {
    value as u16
}

pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

/// `N` bytes; structures are checked for their size before their fields are read.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
