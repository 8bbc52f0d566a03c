//! Attestations: signed statements about a manifest. In-toto Statement v1 in a DSSE envelope. Pure.
//!
//! The signature in the envelope is an SSHSIG of DSSE's pre-authentication encoding, made with the keys that sign manifests in a
//! namespace of its own. So agents and security keys can make it, and `ssh-keygen -Y verify` can verify it.
//! (<https://github.com/secure-systems-lab/dsse>, <https://in-toto.io/Statement/v1>)

use data_encoding::BASE64;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::digest::Digest;
use crate::record::canonical;
use crate::record::manifest::{ManifestId, Unrepresentable};

/// SSHSIG namespace of attestations.
pub const NAMESPACE: &str = "karat-attestation@v1";
/// DSSE `payloadType` of an in-toto statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// In-toto `_type` of a statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Name of the manifest among the subjects of a statement.
const MANIFEST: &str = "manifest";

/// An artifact that a statement is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The image's name, or `manifest`.
    pub name: String,
    pub digest: Sha256,
}

/// An in-toto digest set with a SHA-256.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sha256 {
    pub sha256: ManifestId,
}

/// A statement about a manifest and its image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    pub form: String,
    /// The manifest, and the image.
    pub subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    pub kind: String,
    pub predicate: Value,
}

/// A statement with its signatures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The statement in base 64.
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature in an envelope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// Fingerprint of the key. Not authenticated: a hint.
    pub keyid: String,
    /// The armored SSHSIG in base 64.
    sig: String,
}

/// Reason why an attestation is refused.
#[derive(Debug, Error, Diagnostic)]
pub enum AttestError {
    #[error("it is not an attestation")]
    Form(#[source] serde_json::Error),
    #[error("it is not in base 64")]
    Base64(#[source] data_encoding::DecodeError),
    /// The payload or the statement has another type.
    #[error("it has the type {found:?}, not {wanted:?}")]
    Kind { found: String, wanted: &'static str },
    #[error("it is about another manifest")]
    Elsewhere,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Statement {
    /// Returns a statement about a manifest and its image.
    #[must_use]
    pub fn new(id: ManifestId, image: (&str, &Digest), kind: &str, predicate: Value) -> Self {
        let subject = |name: &str, sha256| Subject {
            name: name.to_owned(),
            digest: Sha256 { sha256 },
        };
        let (name, digest) = image;
        let mut subjects = vec![subject(MANIFEST, id)];
        // The hex digits of any SHA-256 parse as a manifest id.
        subjects.extend(digest.hex().parse().map(|sha256| subject(name, sha256)));
        Self {
            form: STATEMENT.to_owned(),
            subject: subjects,
            kind: kind.to_owned(),
            predicate,
        }
    }

    /// Returns whether the statement is about a manifest.
    #[must_use]
    pub fn is_about(&self, id: ManifestId) -> bool {
        let mut subjects = self.subject.iter();
        subjects.any(|subject| subject.name == MANIFEST && subject.digest.sha256 == id)
    }
}

impl Envelope {
    /// Returns an envelope of `statement` without signatures.
    pub fn new(statement: &Statement) -> Result<Self, Unrepresentable> {
        Ok(Self {
            payload: BASE64.encode(&canonical::to_bytes(statement)?),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// Parses an envelope and its statement. Does not verify signatures.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Statement), AttestError> {
        let envelope: Self = serde_json::from_slice(bytes).map_err(AttestError::Form)?;
        let kind = |found: &str, wanted| {
            if found == wanted {
                return Ok(());
            }
            let found = found.to_owned();
            Err(AttestError::Kind { found, wanted })
        };
        kind(&envelope.payload_type, PAYLOAD_TYPE)?;
        let payload = envelope.payload()?;
        let statement: Statement = serde_json::from_slice(&payload).map_err(AttestError::Form)?;
        kind(&statement.form, STATEMENT)?;
        Ok((envelope, statement))
    }

    /// Returns the bytes to sign: DSSE's pre-authentication encoding.
    pub fn signed_bytes(&self) -> Result<Vec<u8>, AttestError> {
        let payload = self.payload()?;
        let (kind, length) = (&self.payload_type, payload.len());
        let mut bytes = format!("DSSEv1 {} {kind} {length} ", kind.len()).into_bytes();
        bytes.extend(payload);
        Ok(bytes)
    }

    /// Adds a signature of [`Self::signed_bytes`].
    pub fn sign(&mut self, keyid: String, armored: &str) {
        let sig = BASE64.encode(armored.as_bytes());
        self.signatures.push(EnvelopeSignature { keyid, sig });
    }

    fn payload(&self) -> Result<Vec<u8>, AttestError> {
        BASE64
            .decode(self.payload.as_bytes())
            .map_err(AttestError::Base64)
    }
}

impl EnvelopeSignature {
    /// Decodes the armored signature.
    pub fn armored(&self) -> Result<Vec<u8>, AttestError> {
        BASE64
            .decode(self.sig.as_bytes())
            .map_err(AttestError::Base64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_back_and_signs_what_dsse_says() {
        let id = ManifestId::of(b"manifest");
        let image = Digest::of(b"image");
        let predicate = serde_json::json!({"reason": "grün"});
        let statement = Statement::new(id, ("web", &image), "urn:karat:revocation:1", predicate);
        let mut envelope = Envelope::new(&statement).unwrap();
        envelope.sign("SHA256:x".to_owned(), "armored");
        let bytes = canonical::to_bytes(&envelope).unwrap();
        let (read, inside) = Envelope::from_bytes(&bytes).unwrap();
        assert_eq!((&read, &inside), (&envelope, &statement));
        assert_eq!(read.signatures[0].armored().unwrap(), b"armored");
        assert!(inside.is_about(id) && !inside.is_about(ManifestId::of(b"other")));
        // protocol.md of DSSE: "DSSEv1" + SP + LEN(type) + SP + type + SP + LEN(body) + SP + body
        let text = String::from_utf8(read.signed_bytes().unwrap()).unwrap();
        let payload = String::from_utf8(canonical::to_bytes(&statement).unwrap()).unwrap();
        let length = payload.len();
        let expected = format!("DSSEv1 28 application/vnd.in-toto+json {length} {payload}");
        assert_eq!(text, expected);
    }

    #[test]
    fn an_invalid_attestation_is_refused() {
        let statement = Statement::new(
            ManifestId::of(b"manifest"),
            ("web", &Digest::of(b"image")),
            "urn:karat:revocation:1",
            serde_json::json!({}),
        );
        let good = serde_json::to_value(Envelope::new(&statement).unwrap()).unwrap();
        let with = |key: &str, value: &str| {
            let mut envelope = good.clone();
            envelope[key] = value.into();
            Envelope::from_bytes(envelope.to_string().as_bytes()).unwrap_err()
        };
        let other = BASE64.encode(b"{\"_type\":\"https://in-toto.io/Statement/v9\",\"subject\":[],\"predicateType\":\"\",\"predicate\":{}}");
        assert!(matches!(with("payload", "?"), AttestError::Base64(_)));
        assert!(matches!(with("payload", "AAAA"), AttestError::Form(_)));
        assert!(matches!(with("payload", &other), AttestError::Kind { .. }));
        assert!(matches!(
            with("payloadType", "text"),
            AttestError::Kind { .. }
        ));
        assert!(matches!(with("more", "text"), AttestError::Form(_)));
    }
}
