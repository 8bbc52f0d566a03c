//! A zip archive of records.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::vulnerability::fuzzing::archive(data));
});
