//! EC2 without guests, or with tiny ones: the bench, whether it behaves as AWS documents, and karat in it.

#[expect(dead_code, reason = "the tests with guests use more of it")]
mod bench;
mod bench_itself;
#[path = "../qemu/boot_sector.rs"]
#[expect(dead_code, reason = "the tests of QEMU have guests do more")]
mod boot_sector;
mod channels;
mod nightly;
mod pruned;
mod publish;
mod site;
mod tiny_guests;
