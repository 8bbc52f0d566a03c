//! The index of an archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::distro::debian::index::newest(
        &String::from_utf8_lossy(data),
        |_, _| true,
    ));
});
