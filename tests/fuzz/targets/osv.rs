//! Records of vulnerabilities in the format of OSV.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::vulnerability::fuzzing::records(data));
});
