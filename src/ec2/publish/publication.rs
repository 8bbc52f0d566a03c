//! Record of an AMI that was made from an image, kept as an attestation.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::record::manifest::ManifestId;
use crate::store::predicate::{self, PUBLICATION};
use crate::store::{Attestation, Store, StoreError};

/// AMI, with what it was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publication {
    pub region: String,
    /// Account of twelve digits that owns it.
    pub account: String,
    /// `ami-...`
    pub image: String,
    /// Snapshot of its root volume.
    pub snapshot: String,
    /// Digest of the disk: SHA-256 of the SHA-256 of every MiB.
    pub disk: Digest,
    pub encrypted: bool,
    /// KMS key of the encryption, as the template names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Accounts that may launch it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// Organisations and organisational units that may launch it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
}

impl Publication {
    /// Returns the predicate of its attestation. `image` is the digest of the image's file.
    pub fn predicate(&self, image: &Digest) -> Value {
        let mut predicate = predicate::publication(&self.arn(), image);
        predicate["ec2"] = json!(self);
        predicate
    }

    pub fn arn(&self) -> String {
        format!("arn:aws:ec2:{}::image/{}", self.region, self.image)
    }
}

/// Publication, with its attestation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    pub publication: Publication,
    /// Time of publication, in RFC 3339.
    pub when: String,
    pub attestation: Attestation,
}

/// Returns the publications of an image, ordered by time.
pub fn list(store: &Store, id: ManifestId) -> Result<Vec<Published>, StoreError> {
    let attestations = store.attestations_of(id)?.into_iter();
    let mut found: Vec<_> = attestations
        .filter(|attestation| attestation.statement.kind == PUBLICATION)
        .filter_map(|attestation| {
            let predicate = &attestation.statement.predicate;
            Some(Published {
                // Others are about other targets, or have the format of a later version.
                publication: Publication::deserialize(predicate.get("ec2")?).ok()?,
                when: predicate["published"].as_str()?.to_owned(),
                attestation,
            })
        })
        .collect();
    found.sort_by(|one, other| one.when.cmp(&other.when));
    Ok(found)
}

/// Keeps the last publication of each account and region.
pub fn latest_per_region(all: Vec<Published>) -> Vec<Published> {
    let mut last: Vec<Published> = Vec::new();
    for one in all {
        last.retain(|other| {
            let (other, one) = (&other.publication, &one.publication);
            (&other.account, &other.region) != (&one.account, &one.region)
        });
        last.push(one);
    }
    last.sort_by(|one, other| one.publication.region.cmp(&other.publication.region));
    last
}
