//! Signing keys: a key file, or a key held by an SSH agent.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::{HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};
use thiserror::Error;

use super::trust::fingerprint;

/// Hash of the signed content, ssh-keygen's default.
const HASH: HashAlg = HashAlg::Sha512;
/// Largest key file that is read.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// A key that signs.
#[derive(Clone, Debug)]
pub enum Signer {
    /// A private key read from a file.
    Key(Box<PrivateKey>),
    /// The public half of a key held by the agent, also of a security key.
    Agent(Box<PublicKey>),
}

/// Failure to read a signing key or to sign.
#[derive(Debug, Error, Diagnostic)]
pub enum SignError {
    #[error("cannot read the signing key {}", path.display())]
    #[diagnostic(help("`karat keys generate` makes one; `--key FILE` or KARAT_KEY names another"))]
    Read { path: PathBuf, source: io::Error },
    #[error("other users can read the signing key {} (mode {mode:04o})", path.display())]
    #[diagnostic(help("run `chmod 600` on it, and replace the key if someone may have copied it"))]
    Open { path: PathBuf, mode: u32 },
    #[error("{} is neither a private nor a public SSH key", path.display())]
    #[diagnostic(help(
        "expected a key file made by ssh-keygen, or the public key of one that the agent holds"
    ))]
    Form {
        path: PathBuf,
        source: russh::keys::ssh_key::Error,
    },
    #[error("the SSH agent did not sign with {key}")]
    #[diagnostic(help("add the key with `ssh-add`, and check that SSH_AUTH_SOCK names the agent"))]
    Agent {
        /// Fingerprint of the key.
        key: String,
        source: Box<russh::keys::Error>,
    },
    #[error("cannot sign with {key}")]
    #[diagnostic(help("try another key"))]
    Failed {
        /// Fingerprint of the key.
        key: String,
        source: russh::keys::ssh_key::Error,
    },
}

impl Signer {
    /// Reads a private key. For a public key, or a private key with a passphrase, the agent signs.
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
        file.take(MAX_KEY_BYTES)
            .read_to_string(&mut text)
            .map_err(read)?;
        if !text.trim_start().starts_with("-----BEGIN") {
            let key = PublicKey::from_openssh(text.trim()).map_err(form)?;
            return Ok(Self::Agent(Box::new(key)));
        }
        let key = PrivateKey::from_openssh(&text).map_err(form)?;
        if key.is_encrypted() {
            return Ok(Self::Agent(Box::new(key.public_key().clone())));
        }
        if mode & 0o077 != 0 {
            return Err(SignError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        Ok(Self::Key(Box::new(key)))
    }

    /// Returns the public key that verifies the signatures.
    pub fn public(&self) -> &PublicKey {
        match self {
            Self::Key(key) => key.public_key(),
            Self::Agent(key) => key,
        }
    }

    /// Signs the bytes for a namespace; returns the armored signature.
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
                let signed = client
                    .sign_request_signature(public, rsa, &data)
                    .await
                    .map_err(agent)?;
                SshSig::new(public.key_data().clone(), namespace, HASH, signed).map_err(failed)?
            }
        };
        signature.to_pem(LineEnding::LF).map_err(failed)
    }
}
