//! EC2 without guests: the bench, whether it behaves as AWS documents, and karat in it.

#[expect(dead_code, reason = "the tests with guests use more of it")]
mod bench;
mod bench_itself;
mod policy;
mod publish;
mod publish_faults;
mod site;
