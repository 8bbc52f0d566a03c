//! A FAT file system.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::disk::read::fuzzing::fat(data.to_vec()));
});
