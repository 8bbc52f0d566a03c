//! Attestations: kept beside a manifest, since they are made later and by others. Whose signatures count is not asked here.

use std::path::PathBuf;

use super::sidecar::add_beside;
use super::{Store, StoreError, Writing, entries, intact, name_of};
use crate::digest::Digest;
use crate::record::attestation::{AttestError, Envelope, Statement};
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::manifest::ManifestId;
use crate::store::predicate::{REVOCATION, Revocation};

/// An attestation as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attestation {
    /// Where it is.
    pub path: PathBuf,
    /// With signatures.
    pub envelope: Envelope,
    /// What it says.
    pub statement: Statement,
}

/// Why nothing may be done with an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revoked {
    /// The image.
    pub id: ManifestId,
    /// What was said.
    pub revocation: Revocation,
}

impl Store {
    /// The attestations of a manifest, in order of their digests.
    ///
    /// # Errors
    /// One cannot be read, was tampered with, or is about something else.
    pub fn attestations_of(&self, id: ManifestId) -> Result<Vec<Attestation>, StoreError> {
        let mut attestations = Vec::new();
        for path in entries(&self.attestations().join(id.to_string()))? {
            if name_of::<ManifestId>(&path, "json").is_none() {
                continue;
            }
            let bytes = intact(&path)?;
            let read = Envelope::from_bytes(&bytes).and_then(|(envelope, statement)| {
                if statement.is_about(id) {
                    Ok((envelope, statement))
                } else {
                    Err(AttestError::Elsewhere)
                }
            });
            match read {
                Ok((envelope, statement)) => attestations.push(Attestation {
                    path,
                    envelope,
                    statement,
                }),
                Err(source) => return Err(StoreError::Attestation { path, source }),
            }
        }
        attestations.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(attestations)
    }

    /// Why an image is forbidden: the first thing that anybody said. `None` when it is not.
    ///
    /// Whoever said it need not be trusted: to refuse an image by mistake is the lesser harm.
    ///
    /// # Errors
    /// Attestations of it cannot be read.
    pub fn revoked(&self, id: ManifestId) -> Result<Option<Revoked>, StoreError> {
        let mut said = Vec::new();
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
                // It is shown on terminals, whoever wrote it.
                for text in [&mut revocation.by, &mut revocation.reason] {
                    text.retain(|letter| !letter.is_control());
                }
                said.push(revocation);
            }
        }
        said.sort_by_key(|it| it.revoked);
        let first = said.into_iter().next();
        Ok(first.map(|revocation| Revoked { id, revocation }))
    }

    /// Says no when an image is forbidden. `unless` tells how to do it all the same.
    ///
    /// # Errors
    /// It is, or what was said about it cannot be read.
    pub fn allow(&self, id: ManifestId, unless: &'static str) -> Result<(), StoreError> {
        match self.revoked(id)? {
            Some(revoked) => Err(StoreError::Revoked(Box::new(revoked), unless)),
            None => Ok(()),
        }
    }

    /// Says no when a disk to build on is an image that is forbidden.
    ///
    /// # Errors
    /// It is, or the store cannot be read.
    pub fn allow_base(&self, disk: Digest, unless: &'static str) -> Result<(), StoreError> {
        let lineage = self.lineage()?;
        lineage
            .of_image(disk)
            .try_for_each(|id| self.allow(id, unless))
    }
}

impl Writing {
    /// Puts a statement beside a manifest; one that is there already stays.
    ///
    /// # Errors
    /// The store cannot be written.
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
        let is_revocation = statement.kind == REVOCATION;
        let reason = statement.predicate["reason"].as_str();
        let about = About {
            ids: vec![id],
            subject: (!is_revocation).then(|| statement.kind.clone()),
            digest: Some(digest),
            reason: reason.map(str::to_owned),
        };
        let event = if is_revocation {
            Event::Revoke
        } else {
            Event::Attest
        };
        self.log(event, about)?;
        add_beside(&path, &bytes)
    }
}
