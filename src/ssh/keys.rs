//! Key pairs generated for one build: karat's login key and the guest's host key.

use std::io;
use std::path::Path;

use russh::keys::Algorithm;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::{Error, LineEnding, PrivateKey};
use secrecy::{ExposeSecret as _, SecretString};

use crate::os::atomic_file::write_secret;

/// An ed25519 key pair.
#[derive(Clone, Debug)]
pub struct KeyPair {
    private: SecretString,
    public: String,
}

impl KeyPair {
    /// Generates a key pair with a comment.
    ///
    /// # Errors
    /// Fails if the key cannot be encoded, which does not happen for ed25519.
    pub fn generate(comment: &str) -> Result<Self, Error> {
        let mut key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)?;
        key.set_comment(comment);
        Ok(Self {
            private: SecretString::from(key.to_openssh(LineEnding::LF)?.as_str()),
            public: key.public_key().to_openssh()?,
        })
    }

    /// Returns the unencrypted private key in OpenSSH format.
    #[must_use]
    pub fn private_openssh(&self) -> &str {
        self.private.expose_secret()
    }

    /// Returns the public key as a line of `authorized_keys`, without a newline.
    #[must_use]
    pub fn public_line(&self) -> &str {
        &self.public
    }

    /// Writes the private key to a new file that only its owner can read.
    ///
    /// # Errors
    /// Fails if the file exists or cannot be written.
    pub fn write_private(&self, path: &Path) -> io::Result<()> {
        write_secret(path, self.private_openssh().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn ssh_keygen_reads_what_was_written_and_agrees_on_the_public_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let pair = KeyPair::generate("build key").unwrap();
        pair.write_private(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let output = Command::new("ssh-keygen")
            .arg("-y")
            .arg("-f")
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            pair.public_line()
        );
        assert!(
            pair.write_private(&path).is_err(),
            "an existing file is not overwritten"
        );
        assert_ne!(
            KeyPair::generate("").unwrap().public_line(),
            pair.public_line()
        );
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }
}
