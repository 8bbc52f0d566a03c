//! EC2 with guests: instances that are real systems.

#[path = "../ec2/bench/mod.rs"]
#[expect(dead_code, reason = "the tests without guests use more of it")]
mod bench;
mod bench_itself;
mod builder;
mod scene;
#[path = "../ec2/site.rs"]
#[expect(dead_code, reason = "the tests without guests use more of it")]
mod site;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod template;
