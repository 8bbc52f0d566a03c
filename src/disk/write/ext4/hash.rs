//! The hashes by which ext4 indexes large directories.

use crate::disk::read::Bytes;

/// The hash of the base's file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NameHash {
    pub(super) kind: HashFunction,
    /// Bytes beyond ASCII count as negative, as on the machine that created the file system.
    pub(super) signed: bool,
    pub(super) seed: [u32; 4],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HashFunction {
    Legacy,
    HalfMd4,
    Tea,
}

impl HashFunction {
    /// Returns the function for its number in superblocks and directories.
    pub(super) fn from_number(number: u8) -> Option<Self> {
        // 3, 4 and 5 are the same with unsigned bytes: numbers that the kernel uses only in memory, but accepts.
        match number {
            0 | 3 => Some(Self::Legacy),
            1 | 4 => Some(Self::HalfMd4),
            2 | 5 => Some(Self::Tea),
            _ => None,
        }
    }

    /// Returns the number to write.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

/// The hash that marks the end of a directory for NFS, and is reserved for that.
const END: u32 = 0xffff_fffe;

impl NameHash {
    /// Returns the hash of a name, with its lowest bit clear, and a minor hash for names that agree in the first.
    pub(super) fn of(&self, name: &[u8]) -> (u32, u32) {
        let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        if self.seed != [0; 4] {
            state = self.seed;
        }
        let (hash, minor) = match self.kind {
            HashFunction::Legacy => (self.legacy(name), 0),
            HashFunction::HalfMd4 => {
                for from in (0..name.len()).step_by(32) {
                    half_md4(&mut state, &self.words::<8>(&name[from..]));
                }
                (state[1], state[2])
            }
            HashFunction::Tea => {
                for from in (0..name.len()).step_by(16) {
                    tea(&mut state, &self.words::<4>(&name[from..]));
                }
                (state[0], state[1])
            }
        };
        let hash = hash & !1;
        (if hash == END { END - 2 } else { hash }, minor)
    }

    fn extended(&self, byte: u8) -> u32 {
        if self.signed {
            i32::from(byte.cast_signed()).cast_unsigned()
        } else {
            u32::from(byte)
        }
    }

    /// Returns up to `4 * N` bytes as big-endian words, padded with the length.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        // Names have at most 255 bytes.
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX) & 0xff;
        let pad = length * 0x0101_0101;
        let mut words = [pad; N];
        for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
            *word = bytes.iter().fold(pad, |word, byte| {
                (word << 8).wrapping_add(self.extended(*byte))
            });
        }
        words
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut last, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for byte in name {
            let mixed = last ^ self.extended(*byte).wrapping_mul(7_152_373);
            let mut hash = before.wrapping_add(mixed);
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            (before, last) = (last, hash);
        }
        last << 1
    }
}

fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (
            |x, y, z| z ^ (x & (y ^ z)),
            0,
            [0, 1, 2, 3, 4, 5, 6, 7],
            [3, 7, 11, 19],
        ),
        (
            |x, y, z| (x & y).wrapping_add((x ^ y) & z),
            0x5a82_7999,
            [1, 3, 5, 7, 0, 2, 4, 6],
            [3, 5, 9, 13],
        ),
        (
            |x, y, z| x ^ y ^ z,
            0x6ed9_eba1,
            [3, 7, 2, 6, 1, 5, 0, 4],
            [3, 9, 11, 15],
        ),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, word) in order.into_iter().enumerate() {
            let sum = a
                .wrapping_add(mix(b, c, d))
                .wrapping_add(input[word])
                .wrapping_add(constant);
            // The four words take turns.
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, mixed) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(mixed);
    }
}

fn tea(state: &mut [u32; 4], input: &[u32; 4]) {
    let [mut left, mut right, ..] = *state;
    let [a, b, c, d] = *input;
    let mut sum = 0_u32;
    let half = |half: u32, sum: u32, one: u32, other: u32| {
        (half << 4).wrapping_add(one) ^ half.wrapping_add(sum) ^ (half >> 5).wrapping_add(other)
    };
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        left = left.wrapping_add(half(right, sum, a, b));
        right = right.wrapping_add(half(left, sum, c, d));
    }
    state[0] = state[0].wrapping_add(left);
    state[1] = state[1].wrapping_add(right);
}

/// Parses the seed of a superblock.
pub(super) fn seed(bytes: &[u8]) -> [u32; 4] {
    [0, 4, 8, 12].map(|at| Bytes(bytes).le32(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_debugfs() {
        let own = [0x2292_31db, 0x9444_d9e7, 0xe353_e28b, 0x373e_6a0d];
        let long = "libfoo-very-long-name-that-is-more-than-thirty-two-bytes.so.1";
        let (legacy, md4, tea) = (
            HashFunction::Legacy,
            HashFunction::HalfMd4,
            HashFunction::Tea,
        );
        for (kind, seed, name, expected) in [
            (legacy, own, "a", (0xe74b_53e2, 0)),
            (legacy, [0; 4], long, (0xb51c_f546, 0)),
            (legacy, [0; 4], "übergrößenträger", (0x40b5_6488, 0)),
            (md4, own, "a", (0x6303_51b4, 0x268e_cda1)),
            (md4, [0; 4], "a", (0xd5fa_7d7a, 0xacb4_8187)),
            (md4, own, "hello", (0x5141_7510, 0xe7f7_aff1)),
            (md4, own, long, (0xb05e_f4ae, 0xfc42_1c25)),
            (md4, own, "übergrößenträger", (0x71c4_7ab8, 0x1461_0673)),
            (tea, own, long, (0x1796_8032, 0x8523_7985)),
            (tea, [0; 4], "übergrößenträger", (0x1fa6_6a2a, 0x718c_8c58)),
        ] {
            let hash = NameHash {
                kind,
                signed: true,
                seed,
            };
            assert_eq!(hash.of(name.as_bytes()), expected, "{hash:?} of {name}");
        }
    }
}
