//! A qcow2 image.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::disk::read::fuzzing::qcow2(data.to_vec()));
});
