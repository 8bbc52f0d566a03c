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

    /// Sets the two halves of a number whose high half was added to the format later, in another place.
    pub(in crate::disk) fn put_halves(&mut self, low: usize, high: usize, value: u64) {
        self.put32(low, low32(value));
        self.put32(high, high32(value));
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

pub(in crate::disk) fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

/// Returns `N` bytes; callers check the size of a structure before they read its fields.
pub(in crate::disk) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
