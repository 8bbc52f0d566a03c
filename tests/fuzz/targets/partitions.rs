//! A partition table, GPT or MBR.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::disk::read::fuzzing::table(data.to_vec()));
});
