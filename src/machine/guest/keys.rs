//! SSH keys of a build: the key that karat logs in with, and the host key of the guest.

use std::path::Path;

use russh::keys::load_secret_key;

use super::{GuestError, UserData};
use crate::plan::{self, HostKey};
use crate::ssh::Auth;
use crate::ssh::keys::KeyPair;

/// Name of the private key in the run directory.
const BUILD_KEY: &str = "key";

/// Keys of a build.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Credentials that karat logs in with.
    pub auth: Auth,
    /// Public key to authorize in the guest; `None` when an agent holds keys that the base authorizes already.
    pub authorized: Option<String>,
    /// Host key of the guest.
    pub host: KeyPair,
}

impl Keys {
    /// Generates a host key, and a login key unless the plan names a key file or the agent.
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

    /// Returns the user data that sets these keys up in a guest. `later_stages` are the units of cloud-init's stages that
    /// follow the one that handles it.
    pub fn user_data<'a>(&'a self, user: &'a str, later_stages: &'a str) -> UserData<'a> {
        UserData {
            user,
            authorized: self.authorized.as_deref(),
            host_key_private: self.host.private_openssh(),
            host_key_public: self.host.public_line(),
            later_stages,
        }
    }

    /// Returns the key that the guest has to present.
    pub fn host_key(&self) -> HostKey {
        HostKey::Key(self.host.public_line().to_owned())
    }
}
