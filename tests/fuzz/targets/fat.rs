//! A FAT file system.
#![no_main]

#[expect(dead_code, reason = "each target drives one reader")]
#[path = "../../support/explore.rs"]
mod explore;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(explore::fat(data.to_vec()));
});
