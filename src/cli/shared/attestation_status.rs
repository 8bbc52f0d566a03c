//! Judges attestations about images: whether their signers are trusted.

use serde_json::{Value, json};

use super::signature_policy::judge;
use crate::ec2::publish::{Published, publication};
use crate::record::attestation::{EnvelopeSignature, NAMESPACE};
use crate::record::manifest::ManifestId;
use crate::sign::Trust;
use crate::store::predicate::{PROVENANCE, PUBLICATION, REVOCATION, SCAN};
use crate::store::{Attestation, Store, StoreError};
use crate::ui::text::{terminal_safe, with_causes};

/// An attestation and the standing of its signers.
pub(in crate::cli) struct Attested {
    id: ManifestId,
    kind: String,
    signers: Vec<String>,
    /// Reason why the attestation is not accepted.
    because: Option<String>,
}

impl Attested {
    pub(in crate::cli) fn text(&self) -> String {
        let because = self.because.as_ref();
        let because = because.map(|because| format!(": not accepted, {because}"));
        format!(
            "{} {} by {}{}",
            self.id.short(),
            terminal_safe(&self.kind),
            self.signers.join(" and "),
            because.unwrap_or_default()
        )
    }

    pub(in crate::cli) fn json(&self) -> Value {
        let mut row = json!({
            "manifest": self.id.to_string(),
            "kind": self.kind,
            "signers": self.signers,
            "counts": self.because.is_none(),
        });
        if let Some(because) = &self.because {
            row["because"] = because.clone().into();
        }
        row
    }
}

/// Judges all attestations about these images, in an order that does not depend on their signatures. Adds an invalid
/// signature to `faults`; one of an untrusted signer is no fault, but is not accepted.
pub(in crate::cli) fn judge_all(
    store: &Store,
    ids: &[ManifestId],
    trust: Option<&Trust>,
    faults: &mut Vec<String>,
) -> Vec<Attested> {
    let mut judged = Vec::new();
    for &id in ids {
        // An unreadable attestation was reported when the store was checked.
        for attestation in store.attestations_of(id).unwrap_or_default() {
            judged.push(judge_attestation(id, &attestation, trust, faults));
        }
    }
    judged.sort_by(|one, other| {
        (&one.id, &one.kind, &one.signers).cmp(&(&other.id, &other.kind, &other.signers))
    });
    judged
}

fn judge_attestation(
    id: ManifestId,
    attestation: &Attestation,
    trust: Option<&Trust>,
    faults: &mut Vec<String>,
) -> Attested {
    let Attestation {
        path,
        envelope,
        statement,
    } = attestation;
    let mut attested = Attested {
        id,
        kind: kind_name(&statement.kind).to_owned(),
        signers: Vec::new(),
        because: Some("it is unsigned".to_owned()),
    };
    let Some(trust) = trust else {
        let signatures = envelope.signatures.iter();
        attested.signers = signatures
            .map(|signature| terminal_safe(&signature.keyid))
            .collect();
        attested.because = Some("signatures were not verified".to_owned());
        return attested;
    };
    let bytes = envelope.signed_bytes();
    let bytes = bytes.as_ref().map_err(|error| with_causes(error));
    let mut is_accepted = false;
    for signature in &envelope.signatures {
        let judged = bytes.clone().and_then(|bytes| {
            let armored = EnvelopeSignature::armored(signature);
            let armored = armored.map_err(|error| with_causes(&error))?;
            Ok(judge(trust, NAMESPACE, &armored, bytes))
        });
        let fault = match judged {
            Ok(judged) => {
                attested.signers.push(judged.signer());
                is_accepted |= judged.is_accepted();
                attested.because.clone_from(&judged.because);
                judged.because.filter(|_| judged.key.is_none())
            }
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            faults.push(format!("{}: {fault}", path.display()));
        }
    }
    if is_accepted {
        attested.because = None;
    }
    attested
}

/// Returns the AMIs of an image, the last one of each account and region. With `trust`, only those with an attestation of a
/// trusted signer.
pub(in crate::cli) fn trusted_publications(
    store: &Store,
    id: ManifestId,
    trust: Option<&Trust>,
) -> Result<Vec<Published>, StoreError> {
    let mut published = publication::list(store, id)?;
    if let Some(trust) = trust {
        published.retain(|publication| is_trusted(&publication.attestation, trust));
    }
    Ok(publication::latest_per_region(published))
}

/// Returns whether a trusted signer has signed an attestation.
fn is_trusted(attestation: &Attestation, trust: &Trust) -> bool {
    let envelope = &attestation.envelope;
    let Ok(bytes) = envelope.signed_bytes() else {
        return false;
    };
    envelope.signatures.iter().any(|signature| {
        EnvelopeSignature::armored(signature)
            .is_ok_and(|armored| judge(trust, NAMESPACE, &armored, &bytes).is_accepted())
    })
}

/// Returns the revocation of an image as a fault.
pub(in crate::cli) fn revocation_fault(store: &Store, id: ManifestId) -> Option<String> {
    let refused = store.allow(id, "").err();
    refused
        .filter(|error| matches!(error, StoreError::Revoked(..)))
        .map(|error| error.to_string())
}

/// Names a kind of attestation for people.
pub(in crate::cli) fn kind_name(kind: &str) -> &str {
    match kind {
        PROVENANCE => "provenance",
        SCAN => "scan",
        PUBLICATION => "publication",
        REVOCATION => "revocation",
        other => other,
    }
}
