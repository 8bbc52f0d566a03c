//! A disk with partitions and file systems.
#![no_main]

#[expect(dead_code, reason = "each target drives one reader")]
#[path = "../../support/explore.rs"]
mod explore;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(explore::disk(data.to_vec()));
});
