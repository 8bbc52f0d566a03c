//! Which statements about images count.

use serde_json::{Value, json};

use super::failure::chain;
use super::signature_policy::{judge, who};
use super::store_args::plain;
use crate::record::attestation::{EnvelopeSignature, NAMESPACE};
use crate::record::manifest::ManifestId;
use crate::sign::Trust;
use crate::store::predicate::{PROVENANCE, PUBLICATION, REVOCATION, SCAN};
use crate::store::{Attestation, Store, StoreError};

/// A statement and what is thought of who made it.
pub(in crate::cli) struct Attested {
    id: ManifestId,
    kind: String,
    signers: Vec<String>,
    /// Why it does not count.
    because: Option<String>,
}

impl Attested {
    pub(in crate::cli) fn text(&self) -> String {
        let because = self.because.as_ref();
        let because = because.map(|why| format!(": does not count, {why}"));
        format!(
            "{} {} by {}{}",
            self.id.short(),
            plain(&self.kind),
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

/// What is thought of every statement about these images, in an order that does not depend on their signatures. One whose
/// signature does not fit is a fault; one of somebody who is not trusted only does not count.
pub(in crate::cli) fn judge_all(
    store: &Store,
    ids: &[ManifestId],
    trust: Option<&Trust>,
    faults: &mut Vec<String>,
) -> Vec<Attested> {
    let mut all = Vec::new();
    for &id in ids {
        // What cannot be read was told as such already.
        for attestation in store.attestations_of(id).unwrap_or_default() {
            all.push(one(id, &attestation, trust, faults));
        }
    }
    all.sort_by(|one, other| {
        (&one.id, &one.kind, &one.signers).cmp(&(&other.id, &other.kind, &other.signers))
    });
    all
}

fn one(
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
        kind: name(&statement.kind).to_owned(),
        signers: Vec::new(),
        because: Some("nobody has signed it".to_owned()),
    };
    let Some(trust) = trust else {
        let keys = envelope.signatures.iter();
        attested.signers = keys.map(|it| plain(&it.keyid)).collect();
        attested.because = Some("signatures were not looked at".to_owned());
        return attested;
    };
    let bytes = envelope.signed_bytes();
    let mut counts = false;
    for signature in &envelope.signatures {
        let judged = (bytes.as_ref().map_err(|error| chain(error, ": "))).and_then(|bytes| {
            let armored = EnvelopeSignature::armored(signature);
            let armored = armored.map_err(|error| chain(&error, ": "))?;
            Ok(judge(trust, NAMESPACE, &armored, bytes))
        });
        let wrong = match judged {
            Ok(judged) => {
                attested.signers.push(who(&judged));
                counts |= judged.because.is_none();
                let is_wrong = judged.key.is_none();
                attested.because.clone_from(&judged.because);
                judged.because.filter(|_| is_wrong)
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = wrong {
            faults.push(format!("{}: {problem}", path.display()));
        }
    }
    if counts {
        attested.because = None;
    }
    attested
}

/// Whether somebody trusted vouches for a statement.
pub(in crate::cli) fn counts(attestation: &Attestation, trust: &Trust) -> bool {
    let envelope = &attestation.envelope;
    let Ok(bytes) = envelope.signed_bytes() else {
        return false;
    };
    envelope.signatures.iter().any(|signature| {
        let armored = EnvelopeSignature::armored(signature);
        armored.is_ok_and(|it| judge(trust, NAMESPACE, &it, &bytes).because.is_none())
    })
}

/// That an image is forbidden, as a fault.
pub(in crate::cli) fn revoked(store: &Store, id: ManifestId) -> Option<String> {
    let refused = store.allow(id, "").err();
    refused
        .filter(|it| matches!(it, StoreError::Revoked(..)))
        .map(|it| it.to_string())
}

/// A kind of statement for people.
pub(in crate::cli) fn name(kind: &str) -> &str {
    match kind {
        PROVENANCE => "provenance",
        SCAN => "scan",
        PUBLICATION => "publication",
        REVOCATION => "revocation",
        other => other,
    }
}
