//! RPM's database, which is one of SQLite.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::inventory::fuzzing::sqlite(data));
});
