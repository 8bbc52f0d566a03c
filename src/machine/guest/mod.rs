//! What every guest that is launched has in common, wherever it runs: the keys, what cloud-init is told, the seal, the clean-up.

mod boot;
mod clean_up;
mod cloud_init;
mod error;
mod keys;
mod sealed;
mod user_data;

pub use error::GuestError;

pub(crate) use boot::settled;
pub(crate) use clean_up::clean_up;
pub(crate) use cloud_init::wait as cloud_init;
pub(crate) use error::said;
pub(crate) use keys::Keys;
pub(crate) use sealed::{attach, attach_again};
pub(crate) use user_data::UserData;
