//! karat builds golden machine images whose purity can be proved.
//!
//! The rooms stand in order: each imports only rooms below it. `docs/architecture.md` describes them, and `tests/house`
//! checks the order.

// Verbs: arguments, output, exit codes.
pub mod cli;

// Plan → image: one build from launch to record, and rebuilds.
pub mod pipeline;

// EC2: API client, machine backend, AMIs, IAM policies, what a channel moves there.
pub(crate) mod ec2;

// Differences between two images.
pub(crate) mod diff;

// The store: blobs, chunks, manifests, channels, audit log.
pub mod store;

// Checks of a finished disk, read offline.
pub mod scan;

// Packages, files and steps over SSH.
pub mod provision;

// Machine backends: a guest that can be reached over SSH.
pub mod machine;

// Sources of base disks.
pub mod base;

// Package repositories as they are now.
pub(crate) mod repository;

// The guest's way out: allowlist and proxy.
pub mod network;

// SSH: connect, execute, upload, download.
pub mod ssh;

// Downloads into the content-addressed cache.
pub mod fetch;

// Disk images: read, clean, normalize, write.
pub mod disk;

// Formats of the distributions: dpkg, RPM, apk.
pub mod distro;

// Template → plan: every value checked, every default filled in.
pub mod plan;

// TOML text → typed template.
pub mod template;

// Documents that are written down, hashed and signed.
pub mod record;

// SSH signatures and trusted keys.
pub(crate) mod sign;

// Progress and messages.
pub mod ui;

// Files, locks, child processes, run directories.
pub mod os;

// Growing pauses between retries.
pub(crate) mod backoff;

// Secrets and their redaction.
pub mod secret;

// Timestamps.
pub mod time;

// Sizes and durations as text.
pub(crate) mod size;

// SHA-256 digests.
pub mod digest;

// Tables in the binary.
pub(crate) mod embedded;

// Globs of paths in an image.
pub(crate) mod glob;

// Percent encoding of paths in URLs.
pub(crate) mod url_path;
