//! An ext2, ext3 or ext4 file system.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    std::hint::black_box(karat::disk::read::fuzzing::ext4(data.to_vec()));
});
