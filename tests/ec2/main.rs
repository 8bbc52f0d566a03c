//! EC2 without guests, or with tiny ones: the bench, whether it behaves as AWS documents, and karat in it.

#[expect(dead_code, reason = "the tests with guests use more of it")]
mod bench;
mod bench_itself;
mod builder;
mod channels;
mod finishing;
mod nightly;
mod policy;
mod pretender;
mod pruned;
mod publish;
mod publish_faults;
mod site;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod tiny_guests;
