//! Signatures of manifests: kept beside them, since anybody may add one later. Whether one counts is not asked here.

use std::path::PathBuf;

use super::sidecar::add_beside;
use super::{Store, StoreError, Writing, entries, intact, name_of};
use crate::digest::Digest;
use crate::record::audit::{About, Event};
use crate::record::manifest::ManifestId;
use crate::sign;

/// A signature as it is stored: armored text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSignature {
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: Vec<u8>,
}

impl Store {
    /// The signatures of a manifest, in order of their digests.
    ///
    /// # Errors
    /// One cannot be read, or was tampered with.
    pub fn signatures_of(&self, id: ManifestId) -> Result<Vec<StoredSignature>, StoreError> {
        let mut signatures = Vec::new();
        for path in entries(&self.signatures().join(id.to_string()))? {
            if name_of::<ManifestId>(&path, "sig").is_none() {
                continue;
            }
            let text = intact(&path)?;
            signatures.push(StoredSignature { path, text });
        }
        signatures.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(signatures)
    }
}

impl Writing {
    /// Puts a signature beside a manifest; one that is there already stays.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_signature(&self, id: ManifestId, text: &str) -> Result<(), StoreError> {
        debug_assert!(text.len() <= sign::LARGEST);
        let directory = self.store().signatures().join(id.to_string());
        let digest = Digest::of(text.as_bytes());
        let path = directory.join(format!("{}.sig", digest.hex()));
        if path.exists() {
            return Ok(());
        }
        let about = About {
            ids: vec![id],
            digest: Some(digest),
            ..About::default()
        };
        self.log(Event::Sign, about)?;
        add_beside(&path, text.as_bytes())
    }
}
