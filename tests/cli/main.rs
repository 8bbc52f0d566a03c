//! The real binary, run in a scratch directory with an empty environment. Exit code, stdout and stderr are one snapshot.

mod archive;
mod checksum;
mod db;
mod dnf;
mod docs;
mod ec2;
mod fresh;
mod help;
mod hostile;
mod iam_policy;
mod init;
mod lock;
mod network;
mod newcomers;
mod plan;
mod rpm;
mod sanity;
mod scan;
mod schema;
mod site;
mod sizes;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod variables;
