//! The database of vulnerabilities.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::vulnerability::fuzzing::index(data));
});
