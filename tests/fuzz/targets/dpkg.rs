//! The database of dpkg, as a scan reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::inventory::fuzzing::status(data));
});
