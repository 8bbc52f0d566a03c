//! The store that a verb uses.

use std::path::PathBuf;

use clap::Args;

use crate::os::environment;
use crate::store::{Store, StoreError};

/// The store to use.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// Use the store in this directory [default: karat in the XDG data directory]
    #[arg(long, value_name = "DIR", env = environment::STORE.name, hide_env_values = true)]
    pub(in crate::cli) store: Option<PathBuf>,
}

impl StoreArgs {
    /// Opens the store after checking its permissions. Creates nothing.
    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        let store = match &self.store {
            Some(root) => Store::new(root),
            None => Store::of_user()?,
        };
        store.guard()?;
        Ok(store)
    }
}
