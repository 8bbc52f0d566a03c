//! What is in an image and that nobody has declared.

pub mod places;
