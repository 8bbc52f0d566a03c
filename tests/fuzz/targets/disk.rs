//! A disk with partitions and file systems.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::disk::read::fuzzing::disk(data.to_vec()));
});
