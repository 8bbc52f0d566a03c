//! Paragraphs of fields, as in a control file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    karat::distro::debian::control::paragraphs(&String::from_utf8_lossy(data))
        .for_each(|paragraph| drop(std::hint::black_box(paragraph.folded("Depends"))));
});
