//! Signatures of manifests in OpenSSH's format SSHSIG, made with a key file or an agent, and the file of trusted keys.
//!
//! Compatible with `ssh-keygen -Y sign` and `-Y verify`: the format is OpenSSH's PROTOCOL.sshsig, the trust file is
//! ssh-keygen's `allowed_signers`.

use miette::Diagnostic;
use russh::keys::ssh_key::{Algorithm, PublicKey, SshSig};
use thiserror::Error;

mod signer;
mod trust;
pub(crate) mod when;

pub use signer::{SignError, Signer};
pub use trust::{Standing, Trust, TrustError, Trusted, fingerprint, matches_list};

/// Namespace of signatures of manifests; a signature for another namespace does not count.
pub const MANIFEST: &str = "karat-manifest@v1";
/// Pattern of the namespaces that a key trusted for images may sign.
pub const NAMESPACES: &str = "karat-*";

/// Longest armored signature in bytes: RSA with 16,384 bits has 6 KiB.
pub const LARGEST: usize = 64 << 10;
/// Flag of a security key's signature: the user touched the key.
const USER_PRESENT: u8 = 1;
/// Bytes of flags and counter at the end of a security key's signature.
const TRAILER_BYTES: usize = 5;

/// A well-formed signature, not verified yet.
#[derive(Clone, Debug)]
pub struct Signature(SshSig);

/// Rejection of a signature.
#[derive(Debug, Error, Diagnostic)]
#[diagnostic(help("sign the manifest again with `karat sign`"))]
pub enum SignatureError {
    #[error("it is not an SSH signature")]
    Form(#[source] russh::keys::ssh_key::Error),
    #[error("it is longer than an SSH signature can be")]
    TooLarge,
    #[error("it was made for {found:?}, not for {wanted:?}")]
    Namespace { found: String, wanted: String },
    #[error("it was made with SHA-1, which is no longer safe")]
    Weak,
    #[error("it was made without a touch of the security key")]
    Untouched,
    /// Other bytes or another key.
    #[error("it is not a signature of these bytes")]
    Wrong(#[source] russh::keys::ssh_key::Error),
}

impl Signature {
    /// Parses an armored signature.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        if text.len() > LARGEST {
            return Err(SignatureError::TooLarge);
        }
        SshSig::from_pem(text)
            .map(Self)
            .map_err(SignatureError::Form)
    }

    /// Verifies that the embedded key signed these bytes for the namespace. Returns the key; its owner is for [`Trust`] to say.
    pub fn verify(&self, namespace: &str, bytes: &[u8]) -> Result<PublicKey, SignatureError> {
        let found = self.0.namespace();
        if found != namespace {
            return Err(SignatureError::Namespace {
                found: found.to_owned(),
                wanted: namespace.to_owned(),
            });
        }
        let inner = self.0.signature();
        match inner.algorithm() {
            Algorithm::Rsa { hash: None } => return Err(SignatureError::Weak),
            Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
                let bytes = inner.as_bytes();
                let flags = bytes.len().checked_sub(TRAILER_BYTES).map(|at| bytes[at]);
                if flags.is_none_or(|flags| flags & USER_PRESENT == 0) {
                    return Err(SignatureError::Untouched);
                }
            }
            _ => {}
        }
        let key = PublicKey::from(self.0.public_key().clone());
        key.verify(namespace, bytes, &self.0)
            .map_err(SignatureError::Wrong)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests;
