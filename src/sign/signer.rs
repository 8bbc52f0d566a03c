//! Who signs: a key file, or an agent that has the key.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use thiserror::Error;

use super::trust::fingerprint;

/// What signatures hash: what ssh-keygen takes unless told otherwise.
const HASH: HashAlg = HashAlg::Sha512;
/// The largest key file that is read.
const LARGEST: u64 = 64 << 10;

/// Something that signs.
#[derive(Clone, Debug)]
pub enum Signer {
    /// A key that was read from a file.
    Key(Box<PrivateKey>),
    /// A key that the agent has, also one of a security key.
    Agent(Box<PublicKey>),
}

/// Why nothing was signed.
#[derive(Debug, Error, Diagnostic)]
pub enum SignError {
    /// The key file cannot be read.
    #[error("cannot read the signing key {}", path.display())]
    #[diagnostic(help("`karat keys generate` makes one; `--key FILE` or KARAT_KEY names another"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("others than its owner can read the signing key {} (mode {mode:04o})", path.display())]
    #[diagnostic(help("`chmod 600` it, and think about whether somebody has copied it"))]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key.
    #[error("{} is neither a private nor a public SSH key", path.display())]
    #[diagnostic(help(
        "a key file as ssh-keygen writes it is expected, or the public key of one that the agent has"
    ))]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        source: russh::keys::ssh_key::Error,
    },
    /// The agent does not do it.
    #[error("the SSH agent does not sign with {key}")]
    #[diagnostic(help("add the key with `ssh-add`, and see that SSH_AUTH_SOCK names the agent"))]
    Agent {
        /// The key's fingerprint.
        key: String,
        /// Why.
        source: Box<russh::keys::Error>,
    },
    /// The signature could not be made.
    #[error("cannot sign with {key}")]
    #[diagnostic(help("try another key"))]
    Failed {
        /// The key's fingerprint.
        key: String,
        /// Why.
        source: russh::keys::ssh_key::Error,
    },
}

impl Signer {
    /// Reads a private key; one with a passphrase, or a public key, means the agent's.
    ///
    /// # Errors
    /// It cannot be read, is no key, or others can read it.
    pub fn from_file(path: &Path) -> Result<Self, SignError> {
        let read = |source| SignError::Read {
            path: path.to_owned(),
            source,
        };
        let form = |source| SignError::Form {
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        let file = File::open(path).map_err(read)?;
        let mode = file.metadata().map_err(read)?.mode() & 0o777;
        file.take(LARGEST).read_to_string(&mut text).map_err(read)?;
        if !text.trim_start().starts_with("-----BEGIN") {
            let key = PublicKey::from_openssh(text.trim()).map_err(form)?;
            return Ok(Self::Agent(Box::new(key)));
        }
        let key = PrivateKey::from_openssh(&text).map_err(form)?;
        if key.is_encrypted() {
            return Ok(Self::Agent(Box::new(key.public_key().clone())));
        }
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(SignError::Open { path, mode });
        }
        Ok(Self::Key(Box::new(key)))
    }

    /// The key that others need to check what is signed.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        match self {
            Self::Key(key) => key.public_key(),
            Self::Agent(key) => key,
        }
    }

    /// An armored signature of these bytes for one purpose.
    ///
    /// # Errors
    /// The agent refuses, or the key cannot sign.
    pub async fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SignError> {
        let key = || fingerprint(self.public());
        let failed = |source| SignError::Failed { key: key(), source };
        let signature = match self {
            Self::Key(private) => private.sign(namespace, HASH, bytes).map_err(failed)?,
            Self::Agent(public) => {
                let agent = |source| SignError::Agent {
                    key: key(),
                    source: Box::new(source),
                };
                let data = SshSig::signed_data(namespace, HASH, bytes).map_err(failed)?;
                let mut client = AgentClient::connect_env().await.map_err(agent)?;
                let rsa = public.algorithm().is_rsa().then_some(HASH);
                let made = client.sign_request_signature(public, rsa, &data);
                let made = made.await.map_err(agent)?;
                SshSig::new(public.key_data().clone(), namespace, HASH, made).map_err(failed)?
            }
        };
        signature.to_pem(LineEnding::LF).map_err(failed)
    }
}
