//! Numbers in on-disk structures.

/// The fields of a structure whose size was checked when it was read. Fields beyond its end are zero, as in an older version of
/// the structure. Nothing here can panic.
#[derive(Clone, Copy)]
pub(in crate::disk) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn array<const N: usize>(self, at: usize) -> [u8; N] {
        self.bytes(at, N).try_into().unwrap_or([0; N])
    }

    /// Returns `length` bytes, or none if they reach past the end.
    pub fn bytes(self, at: usize, length: usize) -> &'a [u8] {
        let rest = self.0.get(at..).unwrap_or_default();
        rest.get(..length).unwrap_or_default()
    }

    pub fn u8(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    pub fn le16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub fn le32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    /// Returns the number whose halves, of 16 bits each, are at two offsets.
    pub fn le16_halves(self, [low, high]: [usize; 2]) -> u32 {
        u32::from(self.le16(low)) | u32::from(self.le16(high)) << 16
    }

    /// The same for halves of 32 bits.
    pub fn le32_halves(self, [low, high]: [usize; 2]) -> u64 {
        u64::from(self.le32(low)) | u64::from(self.le32(high)) << 32
    }

    /// The same for a low half of 32 bits and a high one of 16.
    pub fn le48(self, [low, high]: [usize; 2]) -> u64 {
        u64::from(self.le32(low)) | u64::from(self.le16(high)) << 32
    }

    pub fn le64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub fn be16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    pub fn be32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    pub fn be64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }
}

/// Converts a length or an index; a number that does not fit becomes the largest index.
pub(crate) fn to_index(number: impl Into<u64>) -> usize {
    usize::try_from(number.into()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_end_there_are_zeros() {
        let fields = Fields(&[1, 2, 3, 4, 5]);
        assert_eq!((fields.le16(0), fields.le32(0)), (0x0201, 0x0403_0201));
        assert_eq!((fields.be32(1), fields.u8(4)), (0x0203_0405, 5));
        assert_eq!(
            (fields.le32(2), fields.le64(usize::MAX), fields.u8(5)),
            (0, 0, 0)
        );
    }
}
