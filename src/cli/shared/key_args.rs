//! Arguments that the verbs which sign and verify share.

use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use crate::cli::{CommandError, ExitStatus};
use crate::os::{environment, xdg};
use crate::sign::{SignError, Signer, Trust, TrustError};

/// The signing key.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyArgs {
    /// Sign with this key: a private key file, or the public key of one in the SSH agent [default: karat/key in the XDG configuration directory]
    #[arg(long, value_name = "FILE", env = environment::KEY.name, hide_env_values = true)]
    pub(in crate::cli) key: Option<PathBuf>,
}

/// The trusted and the revoked keys.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrustArgs {
    /// Trust the signers in this file, in the format of ssh-keygen's `allowed_signers` [default: `karat/allowed_signers` in the XDG configuration directory]
    #[arg(long, value_name = "FILE", env = environment::TRUST.name, hide_env_values = true)]
    pub(in crate::cli) trust: Option<PathBuf>,

    /// Reject the keys in this file, one public key or SHA256: fingerprint per line [default: `karat/revoked_keys` in the XDG configuration directory, if it exists]
    #[arg(
        long,
        value_name = "FILE",
        env = environment::REVOKED.name,
        hide_env_values = true
    )]
    pub(in crate::cli) revoked: Option<PathBuf>,
}

/// The environment names no configuration directory.
#[derive(Debug, Error, Diagnostic)]
#[error("no directory for keys: neither XDG_CONFIG_HOME nor HOME is set")]
#[diagnostic(help("name the files with `--key`, `--trust` and `--revoked`"))]
pub(crate) struct NoConfiguration;

impl ExitStatus for NoConfiguration {
    const EXIT_CODE: u8 = 2;
}

impl KeyArgs {
    /// Returns the arguments of a verb that is run without `--key`.
    pub(crate) fn of_environment() -> Self {
        Self {
            key: std::env::var_os(environment::KEY.name).map(PathBuf::from),
        }
    }

    /// Returns the path of the key, which need not exist.
    pub(crate) fn path(&self) -> Result<PathBuf, NoConfiguration> {
        match &self.key {
            Some(path) => Ok(path.clone()),
            None => configuration("key"),
        }
    }

    /// Returns the signer; `None` when no key was named and the user has none.
    pub(crate) fn signer(&self) -> Result<Option<Signer>, SignError> {
        match self.path() {
            Ok(path) if self.key.is_some() || path.exists() => Signer::from_file(&path).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the signer of a verb that needs one.
    pub(crate) fn required_signer(&self) -> Result<Signer, CommandError> {
        Ok(Signer::from_file(&self.path()?)?)
    }
}

impl TrustArgs {
    /// Returns the path of the trust file, which need not exist.
    pub(crate) fn path(&self) -> Result<PathBuf, NoConfiguration> {
        match &self.trust {
            Some(path) => Ok(path.clone()),
            None => configuration("allowed_signers"),
        }
    }

    /// Returns the path of the revocation list; `None` when none was named and the user has none.
    fn revoked(&self) -> Option<PathBuf> {
        self.revoked.clone().or_else(|| {
            configuration("revoked_keys")
                .ok()
                .filter(|path| path.exists())
        })
    }

    /// Reads the trust file and the revocation list.
    pub(crate) fn read(&self) -> Result<Trust, CommandError> {
        Ok(self.read_from(&self.path()?)?)
    }

    /// Reads a trust file at `path`, and the revocation list.
    pub(crate) fn read_from(&self, path: &std::path::Path) -> Result<Trust, TrustError> {
        Trust::read(path, self.revoked().as_deref())
    }
}

/// Returns the path of a file in the user's configuration directory.
pub(crate) fn configuration(name: &str) -> Result<PathBuf, NoConfiguration> {
    xdg::directory("XDG_CONFIG_HOME", ".config")
        .map(|directory| directory.join("karat").join(name))
        .ok_or(NoConfiguration)
}
