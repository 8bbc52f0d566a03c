//! What the verbs that read the store share: which store, and what can go wrong.

use std::io;
use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use crate::store::{Store, StoreError};

/// Which store.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Use the store in this directory [default: karat in the XDG data directory]
    #[arg(long, value_name = "DIR", env = "KARAT_STORE", hide_env_values = true)]
    pub store: Option<PathBuf>,
}

impl StoreArgs {
    /// Opens the store; makes nothing.
    ///
    /// # Errors
    /// None was given and the environment names no place, or others can change it.
    pub fn open(&self) -> Result<Store, StoreError> {
        let store = match &self.store {
            Some(root) => Store::new(root),
            None => Store::of_user()?,
        };
        store.guard()?;
        Ok(store)
    }
}

/// Why the store could not be shown.
#[derive(Debug, Error, Diagnostic)]
pub enum StoredError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl StoredError {
    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => 1,
        }
    }
}

/// Text that cannot move the cursor or change colours: a manifest may hold anything.
pub(in crate::cli) fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect()
}

/// A size for people.
pub(in crate::cli) fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
