//! Records: the documents that karat writes, hashes and signs. Pure: values in, bytes out.

pub(crate) mod attestation;
pub(crate) mod audit;
pub mod canonical;
pub mod channel;
pub(crate) mod directory_listing;
pub(crate) mod explanation;
pub(crate) mod hash_chain;
pub mod lock;
pub mod manifest;
pub mod severity;
