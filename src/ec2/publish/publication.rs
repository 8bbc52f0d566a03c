//! What is said of an AMI that was made of an image, and what was said of others.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::record::manifest::ManifestId;
use crate::store::predicate::{self, PUBLICATION};
use crate::store::{Attestation, Store, StoreError};

/// An AMI with what it was made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publication {
    /// Where it is.
    pub region: String,
    /// Whose it is, by twelve digits.
    pub account: String,
    /// `ami-...`
    pub image: String,
    /// What its root volume is made of.
    pub snapshot: String,
    /// Digest of the disk: SHA-256 of the SHA-256 of every MiB.
    pub disk: Digest,
    /// Whether the snapshot is encrypted at rest.
    pub encrypted: bool,
    /// With which key, as the template has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Accounts that may launch it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Organisations and their units that may launch it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
}

impl Publication {
    /// What is signed about it. `image` is the digest of the image's file.
    #[must_use]
    pub fn predicate(&self, image: &Digest) -> Value {
        let mut said = predicate::publication(&self.arn(), image);
        said["ec2"] = json!(self);
        said
    }

    /// AWS's own name of it.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:ec2:{}::image/{}", self.region, self.image)
    }
}

/// A publication, and where it is said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// What is said.
    pub publication: Publication,
    /// When, in RFC 3339.
    pub when: String,
    /// The statement.
    pub said: Attestation,
}

/// AMIs that were made of an image, the last one last.
///
/// # Errors
/// What was said of it cannot be read.
pub fn of(store: &Store, id: ManifestId) -> Result<Vec<Published>, StoreError> {
    let said = store.attestations_of(id)?.into_iter();
    let mut found: Vec<_> = said
        .filter(|it| it.statement.kind == PUBLICATION)
        .filter_map(|said| {
            let predicate = &said.statement.predicate;
            Some(Published {
                // Others are about other places, or of a form that a later karat knows.
                publication: Publication::deserialize(predicate.get("ec2")?).ok()?,
                when: predicate["published"].as_str()?.to_owned(),
                said,
            })
        })
        .collect();
    found.sort_by(|one, other| one.when.cmp(&other.when));
    Ok(found)
}

/// Of AMIs that were made of an image, the last one of each account and region.
#[must_use]
pub fn last_ones(all: Vec<Published>) -> Vec<Published> {
    let mut last: Vec<Published> = Vec::new();
    for one in all {
        let place = |it: &Published| {
            (
                it.publication.account.clone(),
                it.publication.region.clone(),
            )
        };
        last.retain(|other| place(other) != place(&one));
        last.push(one);
    }
    last.sort_by(|one, other| one.publication.region.cmp(&other.publication.region));
    last
}
