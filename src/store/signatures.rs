//! Signatures of manifests. They are sidecars because they are added later. This module does not decide whether one is trusted.

use std::path::PathBuf;

use super::layout::{entries, parse_stem, read_verified};
use super::sidecar::add_sidecar;
use super::{Store, StoreError, Writing};
use crate::digest::Digest;
use crate::record::audit::{About, Event};
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
        let mut signatures = Vec::new();
        for path in entries(&self.signatures().join(id.to_string()))? {
            if parse_stem::<ManifestId>(&path, "sig").is_some() {
                let text = read_verified(&path)?;
                signatures.push(StoredSignature { path, text });
            }
        }
        signatures.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(signatures)
    }
}

impl Writing {
    /// Adds a signature of a manifest. Does nothing if the store has it already.
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
        add_sidecar(&path, text.as_bytes())
    }
}
