//! The Release file of an archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drop(std::hint::black_box(
        String::from_utf8_lossy(data).parse::<karat::distro::debian::release::Release>(),
    ));
});
