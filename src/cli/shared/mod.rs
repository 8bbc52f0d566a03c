//! Parts that several verbs share: arguments, the store, signatures, moves of channels.

pub(crate) mod attestation;
pub(crate) mod attestation_status;
pub mod autoremovable;
pub mod channel_move;
pub(crate) mod failure;
pub mod key_args;
pub(crate) mod open_image;
pub(crate) mod signature_policy;
pub mod store_args;
pub(crate) mod syslog;
pub mod syslog_forward;
