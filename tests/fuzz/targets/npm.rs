//! What an npm package says of itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::inventory::fuzzing::npm(data));
});
