//! Alpine's database of packages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::inventory::fuzzing::apk(data));
});
