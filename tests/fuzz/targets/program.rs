//! A program that may say what it was made from: ELF, Go, Cargo.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::scan::inventory::fuzzing::program(data));
});
