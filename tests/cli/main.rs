//! The real binary, run in a scratch directory with an empty environment. Exit code, stdout and stderr are one snapshot.

mod archive;
mod before_launch;
mod checksum;
mod db;
mod db_update;
mod dnf;
mod docs;
mod doctor;
mod ec2;
mod fresh;
mod help;
mod hints;
mod hostile;
mod iam_policy;
mod init;
mod lock;
mod network;
mod newcomers;
mod package;
mod plan;
mod rpm;
mod run;
mod sanity;
mod scan;
mod schema;
mod site;
mod sizes;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;
mod variables;
