//! Parts that several verbs share: arguments, output, errors, signatures, moves of channels.

pub(crate) mod attestation;
pub(crate) mod attestation_status;
pub(crate) mod autoremovable;
pub(crate) mod channel_move;
pub(crate) mod command_error;
pub(crate) mod exit_status;
pub(crate) mod image_line;
pub(crate) mod key_args;
pub(crate) mod logged;
pub(crate) mod open_image;
pub(crate) mod recorded_origin;
pub(crate) mod signature_policy;
pub(crate) mod single_image;
pub(crate) mod stdout;
pub(crate) mod store_args;
pub(crate) mod syslog;
pub(crate) mod syslog_forward;
