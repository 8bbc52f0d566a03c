//! What the verbs that sign and verify share: which key signs, and whose signatures count.

use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use crate::os::xdg;
use crate::sign::{SignError, Signer, Trust, TrustError};

/// Which key signs.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// Sign with this key: a private key file, or the public key of one that the SSH agent has [default: karat/key in the XDG configuration directory]
    #[arg(long, value_name = "FILE", env = "KARAT_KEY", hide_env_values = true)]
    pub key: Option<PathBuf>,
}

/// Whose signatures count.
#[derive(Clone, Debug, Args)]
pub struct TrustArgs {
    /// Believe the signers in this file, in the form of ssh-keygen's `allowed_signers` [default: `karat/allowed_signers` in the XDG configuration directory]
    #[arg(long, value_name = "FILE", env = "KARAT_TRUST", hide_env_values = true)]
    pub trust: Option<PathBuf>,

    /// Do not believe the keys in this file, a public key or a SHA256: fingerprint a line [default: `karat/revoked_keys` beside that file's default, if there]
    #[arg(
        long,
        value_name = "FILE",
        env = "KARAT_REVOKED",
        hide_env_values = true
    )]
    pub revoked: Option<PathBuf>,
}

/// There is no place for keys.
#[derive(Debug, Error, Diagnostic)]
#[error("no place for keys: neither XDG_CONFIG_HOME nor HOME is set")]
#[diagnostic(help("name the files: `--key`, `--trust`, `--revoked`"))]
pub struct NoConfiguration;

impl KeyArgs {
    /// Where the key is, whether it is there or not.
    ///
    /// # Errors
    /// None was given, and the environment names no place.
    pub fn path(&self) -> Result<PathBuf, NoConfiguration> {
        match &self.key {
            Some(path) => Ok(path.clone()),
            None => configuration("key"),
        }
    }

    /// The signer; `None` when no key was named and the user has none.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn signer(&self) -> Result<Option<Signer>, SignError> {
        match self.path() {
            Ok(path) if self.key.is_some() || path.exists() => Signer::from_file(&path).map(Some),
            _ => Ok(None),
        }
    }
}

impl TrustArgs {
    /// The file that says who is trusted, whether it is there or not.
    ///
    /// # Errors
    /// None was given, and the environment names no place.
    pub fn path(&self) -> Result<PathBuf, NoConfiguration> {
        match &self.trust {
            Some(path) => Ok(path.clone()),
            None => configuration("allowed_signers"),
        }
    }

    /// The list of revoked keys: `None` when none was named and the user has none.
    #[must_use]
    pub fn revoked(&self) -> Option<PathBuf> {
        let of_user = || {
            configuration("revoked_keys")
                .ok()
                .filter(|path| path.exists())
        };
        self.revoked.clone().or_else(of_user)
    }

    /// Reads both files.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn read(&self, path: &std::path::Path) -> Result<Trust, TrustError> {
        Trust::read(path, self.revoked().as_deref())
    }
}

/// A file of the user's configuration.
pub(in crate::cli) fn configuration(name: &str) -> Result<PathBuf, NoConfiguration> {
    xdg::directory("XDG_CONFIG_HOME", ".config")
        .map(|it| it.join("karat").join(name))
        .ok_or(NoConfiguration)
}
