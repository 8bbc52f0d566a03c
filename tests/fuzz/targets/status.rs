//! The status file of dpkg.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::distro::debian::status::installed(&String::from_utf8_lossy(
        data,
    )));
});
