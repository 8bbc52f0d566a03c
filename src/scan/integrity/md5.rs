//! MD5 of several files at once: a step of MD5 waits for the one before it, so one file at a time leaves a processor mostly idle.
//! Eight side by side take half of the time.

/// Files side by side: with eight, a processor has always something to do.
pub const LANES: usize = 8;
/// Bytes that are taken in one step.
pub const BLOCK: usize = 64;

/// One number of each file.
type Word = [u32; LANES];

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const SHIFTS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];
/// The sines of 1 to 64, times 2^32.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The state of each lane.
#[derive(Clone, Debug)]
pub struct Md5([Word; 4]);

impl Default for Md5 {
    fn default() -> Self {
        Self(START.map(|word| [word; LANES]))
    }
}

impl Md5 {
    /// The sum of a lane that has had all of its [padding]; the lane starts anew.
    pub fn take(&mut self, lane: usize) -> [u8; 16] {
        let mut sum = [0; 16];
        for ((word, start), bytes) in self.0.iter_mut().zip(START).zip(sum.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word[lane].to_le_bytes());
            word[lane] = start;
        }
        sum
    }

    /// Takes whole blocks: as many of each lane as the shortest has.
    pub fn update(&mut self, lanes: [&[u8]; LANES]) {
        let lanes = lanes.map(|lane| lane.as_chunks::<BLOCK>().0);
        let blocks = lanes.iter().map(|lane| lane.len()).min().unwrap_or(0);
        for at in 0..blocks {
            self.block(lanes.map(|lane| &lane[at]));
        }
    }

    fn block(&mut self, lanes: [&[u8; BLOCK]; LANES]) {
        let mut message = [[0; LANES]; 16];
        for (lane, bytes) in lanes.into_iter().enumerate() {
            for (word, bytes) in message.iter_mut().zip(bytes.as_chunks::<4>().0) {
                word[lane] = u32::from_le_bytes(*bytes);
            }
        }
        let mut state = self.0;
        round::<0>(&mut state, &message, |b, c, d| d ^ (b & (c ^ d)));
        round::<1>(&mut state, &message, |b, c, d| c ^ (d & (b ^ c)));
        round::<2>(&mut state, &message, |b, c, d| b ^ c ^ d);
        round::<3>(&mut state, &message, |b, c, d| c ^ (b | !d));
        for (before, word) in self.0.iter_mut().zip(state) {
            for (before, word) in before.iter_mut().zip(word) {
                *before = before.wrapping_add(word);
            }
        }
    }
}

/// Sixteen of the 64 steps.
#[inline]
fn round<const ROUND: usize>(
    state: &mut [Word; 4],
    message: &[Word; 16],
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    for four in 0..4 {
        let with = |n: usize| {
            let step = 4 * four + n;
            let at = match ROUND {
                0 => step,
                1 => 5 * step + 1,
                2 => 3 * step + 5,
                _ => 7 * step,
            };
            let sine = SINES[16 * ROUND + step];
            (&message[at % 16], sine, SHIFTS[ROUND][n])
        };
        let [a, b, c, d] = *state;
        let a = step([a, b, c, d], with(0), &mix);
        let d = step([d, a, b, c], with(1), &mix);
        let c = step([c, d, a, b], with(2), &mix);
        let b = step([b, c, d, a], with(3), &mix);
        *state = [a, b, c, d];
    }
}

#[inline]
fn step(
    [a, b, c, d]: [Word; 4],
    (word, sine, shift): (&Word, u32, u32),
    mix: impl Fn(u32, u32, u32) -> u32,
) -> Word {
    // A plain loop: closures of `from_fn` are calls in some builds, and take three times as long.
    let mut next = [0; LANES];
    for (i, next) in next.iter_mut().enumerate() {
        let mixed = a[i].wrapping_add(mix(b[i], c[i], d[i]));
        let sum = mixed.wrapping_add(word[i]).wrapping_add(sine);
        *next = b[i].wrapping_add(sum.rotate_left(shift));
    }
    next
}

/// What follows the last bytes of a file: to the end of a block, or of the next one.
pub fn padding(length: u64) -> impl Iterator<Item = u8> {
    let rest = usize::try_from(length % BLOCK as u64).unwrap_or_default();
    let zeros = (2 * BLOCK - 9 - rest) % BLOCK;
    let bits = length.wrapping_mul(8).to_le_bytes();
    let end = std::iter::repeat_n(0, zeros).chain(bits);
    std::iter::once(0x80).chain(end)
}

#[cfg(test)]
mod tests {
    use ::md5::Digest as _;

    use super::*;

    #[test]
    fn every_length_has_the_sum_that_it_has_alone() {
        let bytes: Vec<u8> = (0..400_u32).map(|at| (at * at % 251) as u8).collect();
        for length in 0..200 {
            for lane in 0..LANES {
                let file = &bytes[lane..lane + length];
                let padding = padding(length as u64);
                let whole: Vec<u8> = file.iter().copied().chain(padding).collect();
                assert_eq!(whole.len() % BLOCK, 0, "{length}");
                // What is in the other lanes does not matter.
                let mut lanes: [&[u8]; LANES] = [&bytes; LANES];
                lanes[lane] = &whole;
                let mut md5 = Md5::default();
                md5.update(lanes);
                let alone: [u8; 16] = ::md5::Md5::digest(file).into();
                assert_eq!(md5.take(lane), alone, "{length} bytes in lane {lane}");
                // The lane has started anew.
                lanes = [&bytes; LANES];
                lanes[lane] = &whole;
                md5.update(lanes);
                assert_eq!(md5.take(lane), alone, "{length} bytes again");
            }
        }
    }
}
