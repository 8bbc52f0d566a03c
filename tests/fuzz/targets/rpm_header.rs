//! The header of one package in RPM's database.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::inventory::fuzzing::header(data));
});
