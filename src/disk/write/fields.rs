//! Little-endian fields of on-disk structures.

/// A structure of fixed size that is filled in field by field; the rest stays zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::disk) struct Fields(Vec<u8>);

impl From<Vec<u8>> for Fields {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Fields {
    pub(in crate::disk) fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    pub(in crate::disk) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(in crate::disk) fn put8(&mut self, at: usize, value: u8) {
        self.0[at] = value;
    }

    pub(in crate::disk) fn put16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub(in crate::disk) fn put32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(in crate::disk) fn put64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// Sets the number whose halves, of 16 bits each, are at two offsets.
    pub(in crate::disk) fn put16_halves(&mut self, [low, high]: [usize; 2], value: u32) {
        self.put16(low, low16(value.into()));
        self.put16(high, low16((value >> 16).into()));
    }

    /// The same for halves of 32 bits.
    pub(in crate::disk) fn put32_halves(&mut self, [low, high]: [usize; 2], value: u64) {
        self.put32(low, low32(value));
        self.put32(high, high32(value));
    }

    /// The same for a low half of 32 bits and a high one of 16.
    pub(in crate::disk) fn put48(&mut self, [low, high]: [usize; 2], value: u64) {
        self.put32(low, low32(value));
        self.put16(high, low16(value >> 32));
    }

    pub(in crate::disk) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::disk) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Returns the low 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "truncation is the purpose")]
pub(in crate::disk) const fn low32(value: u64) -> u32 {
    value as u32
}

/// Returns the high 32 bits.
pub(in crate::disk) const fn high32(value: u64) -> u32 {
    low32(value >> 32)
}

/// Returns the low 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "truncation is the purpose")]
pub(in crate::disk) const fn low16(value: u64) -> u16 {
    value as u16
}
