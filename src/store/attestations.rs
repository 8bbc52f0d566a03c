//! Attestations. They are sidecars because they are added later. This module does not decide whose signatures are trusted.

use std::path::PathBuf;

use super::predicate::{REVOCATION, Revocation};
use super::sidecar::{add_sidecar, read_files};
use super::{Store, StoreError, Transaction};
use crate::digest::Digest;
use crate::record::attestation::{AttestError, Envelope, Statement};
use crate::record::audit::{AuditEvent, ChangeDetails};
use crate::record::canonical;
use crate::record::manifest::ManifestId;

/// An attestation and the file it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attestation {
    pub path: PathBuf,
    /// The statement with its signatures.
    pub envelope: Envelope,
    pub statement: Statement,
}

/// A revoked image and the reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevokedImage {
    pub id: ManifestId,
    pub revocation: Revocation,
}

impl Store {
    /// Returns the attestations of a manifest, in order of their digests. Fails if one is about another manifest.
    ///
    /// # Errors
    /// An attestation is damaged, or is about another manifest.
    pub fn attestations_of(&self, id: ManifestId) -> Result<Vec<Attestation>, StoreError> {
        let parse = |(path, bytes): (PathBuf, Vec<u8>)| match Envelope::from_bytes(&bytes) {
            Ok((envelope, statement)) if statement.is_about(id) => Ok(Attestation {
                path,
                envelope,
                statement,
            }),
            Ok(_) => {
                let source = AttestError::Elsewhere;
                Err(StoreError::Attestation { path, source })
            }
            Err(source) => Err(StoreError::Attestation { path, source }),
        };
        let files = read_files(&self.attestations(), id, "json")?.into_iter();
        files.map(parse).collect()
    }

    /// Returns the first revocation of an image; `None` if it is not revoked.
    ///
    /// The revocation counts even if its signer is not trusted: to refuse an image by mistake is the lesser harm.
    ///
    /// # Errors
    /// An attestation is damaged.
    pub fn revoked(&self, id: ManifestId) -> Result<Option<RevokedImage>, StoreError> {
        let mut revocations = Vec::new();
        for Attestation {
            path, statement, ..
        } in self.attestations_of(id)?
        {
            if statement.kind == REVOCATION {
                let mut revocation: Revocation = serde_json::from_value(statement.predicate)
                    .map_err(|error| {
                        let source = AttestError::Form(error);
                        StoreError::Attestation { path, source }
                    })?;
                // The texts are untrusted, and are shown on a terminal.
                for text in [&mut revocation.by, &mut revocation.reason] {
                    text.retain(|letter| !letter.is_control());
                }
                revocations.push(revocation);
            }
        }
        revocations.sort_by_key(|revocation| revocation.revoked);
        let first = revocations.into_iter().next();
        Ok(first.map(|revocation| RevokedImage { id, revocation }))
    }

    /// Fails if an image is revoked. `unless` is the help text: how to use the image in spite of it.
    pub(crate) fn allow(&self, id: ManifestId, unless: &'static str) -> Result<(), StoreError> {
        match self.revoked(id)? {
            Some(revoked) => Err(StoreError::Revoked(Box::new(revoked), unless)),
            None => Ok(()),
        }
    }

    /// Fails if a base disk is a revoked image of this store. `unless` is as in [`Self::allow`].
    pub(crate) fn allow_base(&self, disk: Digest, unless: &'static str) -> Result<(), StoreError> {
        self.lineage()?
            .of_image(disk)
            .try_for_each(|id| self.allow(id, unless))
    }
}

impl Transaction {
    /// Adds an attestation. Does nothing if the store has it already.
    pub fn add_attestation(
        &self,
        id: ManifestId,
        envelope: &Envelope,
        statement: &Statement,
    ) -> Result<(), StoreError> {
        let bytes = canonical::to_bytes(envelope)?;
        let digest = Digest::of(&bytes);
        let directory = self.store().attestations().join(id.to_string());
        let path = directory.join(format!("{}.json", digest.hex()));
        if path.exists() {
            return Ok(());
        }
        let (event, subject) = if statement.kind == REVOCATION {
            (AuditEvent::Revoke, None)
        } else {
            (AuditEvent::Attest, Some(statement.kind.clone()))
        };
        let about = ChangeDetails {
            ids: vec![id],
            subject,
            digest: Some(digest),
            reason: statement.predicate["reason"].as_str().map(str::to_owned),
        };
        self.log(event, about)?;
        add_sidecar(&path, &bytes)
    }
}
