//! What every guest that is launched has in common, wherever it runs: the keys, what cloud-init is told, the seal, the clean-up.

mod boot;
mod clean_up;
mod cloud_init;
mod error;
mod keys;
mod sealed;
mod user_data;

pub use error::GuestError;

pub(super) use boot::settled;
pub(super) use clean_up::clean_up;
pub(super) use cloud_init::wait as cloud_init;
pub(super) use error::said;
pub(super) use keys::Keys;
pub(super) use sealed::{attach, attach_again};
pub(super) use user_data::UserData;
