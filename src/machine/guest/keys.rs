//! Who proves what by which key: karat to the guest, and the guest to karat.

use std::path::Path;

use russh::keys::load_secret_key;

use super::GuestError;
use crate::plan;
use crate::ssh::Auth;
use crate::ssh::keys::KeyPair;

/// Its name inside the run directory.
const BUILD_KEY: &str = "key";

/// The keys of one build.
#[derive(Debug)]
pub(crate) struct Keys {
    /// How karat logs in.
    pub auth: Auth,
    /// The public key that the guest lets in; `None` when an agent holds keys that the base knows already.
    pub authorized: Option<String>,
    /// The guest's own key.
    pub host: KeyPair,
}

impl Keys {
    /// Makes what is missing: the guest's key always, and a build key unless the plan names a key file or the agent.
    pub fn prepare(ssh: &plan::Ssh, run: &Path) -> Result<Self, GuestError> {
        let bad = |error: &dyn std::fmt::Display| GuestError::Key(error.to_string());
        let host = KeyPair::generate("karat-guest").map_err(|error| bad(&error))?;
        let (auth, authorized) = match &ssh.key_file {
            Some(path) => {
                let key = load_secret_key(path, None)
                    .map_err(|error| GuestError::Key(format!("{}: {error}", path.display())))?;
                let public = key.public_key().to_openssh().map_err(|error| bad(&error))?;
                (Auth::KeyFile(path.clone()), Some(public))
            }
            None if ssh.agent => (Auth::Agent, None),
            None => {
                let pair = KeyPair::generate("karat-build").map_err(|error| bad(&error))?;
                let path = run.join(BUILD_KEY);
                pair.write_private(&path)
                    .map_err(|source| GuestError::Prepare {
                        path: path.clone(),
                        source,
                    })?;
                (Auth::KeyFile(path), Some(pair.public_line().to_owned()))
            }
        };
        Ok(Self {
            auth,
            authorized,
            host,
        })
    }
}
