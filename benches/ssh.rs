//! Figures for moving files, against `ssh`.
fn main() {}
