//! The JSON of Debian's security tracker.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::vulnerability::fuzzing::tracker(data));
});
