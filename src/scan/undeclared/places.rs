//! Where things count as declared or not: one table.

/// Directories that programs are looked for in, without links: what root and services find there, they run.
pub const PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
