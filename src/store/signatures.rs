//! Signatures of manifests. They are sidecars because they are added later. This module does not decide whether one is trusted.

use std::path::PathBuf;

use super::sidecar::{add_sidecar, read_files};
use super::{Store, StoreError, Transaction};
use crate::digest::Digest;
use crate::record::audit::{AuditEvent, ChangeDetails};
use crate::record::manifest::ManifestId;
use crate::sign;

/// An armored signature and the file it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSignature {
    pub path: PathBuf,
    pub text: Vec<u8>,
}

impl Store {
    /// Returns the signatures of a manifest, in order of their digests.
    ///
    /// # Errors
    /// A signature is damaged.
    pub fn signatures_of(&self, id: ManifestId) -> Result<Vec<StoredSignature>, StoreError> {
        let files = read_files(&self.signatures(), id, "sig")?.into_iter();
        let signature = |(path, text)| StoredSignature { path, text };
        Ok(files.map(signature).collect())
    }
}

impl Transaction {
    /// Adds a signature of a manifest. Does nothing if the store has it already.
    pub fn add_signature(&self, id: ManifestId, text: &str) -> Result<(), StoreError> {
        debug_assert!(text.len() <= sign::LARGEST);
        let directory = self.store().signatures().join(id.to_string());
        let digest = Digest::of(text.as_bytes());
        let path = directory.join(format!("{}.sig", digest.hex()));
        if path.exists() {
            return Ok(());
        }
        let about = ChangeDetails {
            ids: vec![id],
            digest: Some(digest),
            ..ChangeDetails::default()
        };
        self.log(AuditEvent::Sign, about)?;
        add_sidecar(&path, text.as_bytes())
    }
}
