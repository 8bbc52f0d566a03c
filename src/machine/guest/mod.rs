//! Guests that karat launches, on any backend: keys, cloud-init, sealing and clean-up.

mod boot;
mod clean_up;
mod cloud_init;
mod error;
mod keys;
mod machine;
mod sealed;
mod user_data;

pub use error::GuestError;
pub(crate) use keys::Keys;
pub use machine::{Backend, Guest};
pub(crate) use user_data::UserData;
