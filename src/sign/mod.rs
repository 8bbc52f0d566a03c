//! Signatures of manifests: SSHSIG, made with a key file or by an agent, and judged by whom a file trusts.
//!
//! `ssh-keygen -Y verify` accepts what is made here, and what `ssh-keygen -Y sign` makes is accepted here: the form is that
//! of OpenSSH's PROTOCOL.sshsig, the trust file that of ssh-keygen's `allowed_signers`.

use miette::Diagnostic;
use russh::keys::ssh_key::{Algorithm, PublicKey, SshSig};
use thiserror::Error;

mod signer;
mod trust;
pub(crate) mod when;

pub use signer::{SignError, Signer};
pub use trust::{Standing, Trust, TrustError, Trusted, fingerprint, matches_list};

/// What signatures of manifests are for: one that was made for something else does not count.
pub const MANIFEST: &str = "karat-manifest@v1";
/// The namespaces that a key gets that is trusted for images, as a pattern.
pub const NAMESPACES: &str = "karat-*";

/// The largest signature that is read: RSA with 16,384 bits has 6 KiB.
pub const LARGEST: usize = 64 << 10;
/// Bit of a signature by a security key that says that somebody touched it.
const TOUCHED: u8 = 1;
/// Flags and counter at the end of such a signature.
const TRAILER: usize = 5;

/// A signature whose form is right; not yet whether it is one of anything.
#[derive(Clone, Debug)]
pub struct Signature(SshSig);

/// Why something is no signature, or not one of these bytes.
#[derive(Debug, Error, Diagnostic)]
#[diagnostic(help("sign the manifest again with `karat sign`"))]
pub enum SignatureError {
    /// It cannot be read.
    #[error("it is no SSH signature")]
    Form(#[source] russh::keys::ssh_key::Error),
    /// It is larger than any.
    #[error("it is larger than any SSH signature")]
    TooLarge,
    /// It was made for something else.
    #[error("it was made for {found:?}, not for {wanted:?}")]
    Namespace {
        /// Its namespace.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// It was made by a way that is not safe any more.
    #[error("it was made with SHA-1, which is not safe any more")]
    Weak,
    /// Nobody touched the security key.
    #[error("nobody touched the security key that made it")]
    Untouched,
    /// The bytes are others, or the key is.
    #[error("it is not a signature of these bytes")]
    Wrong(#[source] russh::keys::ssh_key::Error),
}

impl Signature {
    /// Reads an armored signature.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        if text.len() > LARGEST {
            return Err(SignatureError::TooLarge);
        }
        let signature = SshSig::from_pem(text).map_err(SignatureError::Form)?;
        Ok(Self(signature))
    }

    /// Checks that the key in it has signed these bytes for that purpose; whose key it is, is not asked.
    ///
    /// # Errors
    /// See [`SignatureError`].
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
                let flags = bytes.len().checked_sub(TRAILER).map(|at| bytes[at]);
                if flags.is_none_or(|flags| flags & TOUCHED == 0) {
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
