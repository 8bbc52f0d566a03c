//! Attestations: signed statements about a manifest. In-toto Statement v1 in a DSSE envelope. Pure: the
//! [store](crate::store) keeps them.
//!
//! The signature in the envelope is an SSHSIG of DSSE's pre-authentication encoding, by the same keys that sign manifests and for
//! a purpose of its own: so agents and security keys can make it, and `ssh-keygen -Y verify` checks it.
//! (<https://github.com/secure-systems-lab/dsse>, <https://in-toto.io/Statement/v1>)

use data_encoding::BASE64;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::digest::Digest;
use crate::record::canonical;
use crate::record::manifest::{ManifestId, Unrepresentable};

/// What signatures of attestations are for.
pub const NAMESPACE: &str = "karat-attestation@v1";
/// DSSE's name for what is inside.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// In-toto's name for the form of statements.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the manifest is called among the subjects of a statement.
const MANIFEST: &str = "manifest";

/// What a statement is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The image's name, or `manifest`.
    pub name: String,
    /// Digests by algorithm: `sha256` in hex digits.
    pub digest: Sha256,
}

/// A digest as in-toto writes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sha256 {
    /// 64 hex digits.
    pub sha256: ManifestId,
}

/// A statement about a manifest and its image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The form.
    #[serde(rename = "_type")]
    pub form: String,
    /// The image, and the manifest.
    pub subject: Vec<Subject>,
    /// What kind of statement.
    #[serde(rename = "predicateType")]
    pub kind: String,
    /// What is said.
    pub predicate: Value,
}

/// A statement with its signatures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The statement's bytes in base 64.
    payload: String,
    /// What they are.
    #[serde(rename = "payloadType")]
    payload_type: String,
    /// Who vouches for it.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature in an envelope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// The fingerprint of the key, a hint.
    pub keyid: String,
    /// The armored SSHSIG in base 64.
    sig: String,
}

/// Why something is no attestation.
#[derive(Debug, Error, Diagnostic)]
pub enum AttestError {
    /// It cannot be read.
    #[error("it has no form of an attestation")]
    Form(#[source] serde_json::Error),
    /// What should be in base 64 is not.
    #[error("it is not in base 64")]
    Base64(#[source] data_encoding::DecodeError),
    /// It holds something else.
    #[error("it is {found:?}, not {wanted:?}")]
    Kind {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// It is about something else.
    #[error("it is not about this manifest")]
    Elsewhere,
    /// A value that cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Statement {
    /// A statement about a manifest and its image.
    #[must_use]
    pub fn new(id: ManifestId, image: (&str, &Digest), kind: &str, predicate: Value) -> Self {
        let subject = |name: &str, sha256| Subject {
            name: name.to_owned(),
            digest: Sha256 { sha256 },
        };
        let (name, digest) = image;
        let mut subjects = vec![subject(MANIFEST, id)];
        // Hex digits of a SHA-256 are hex digits of a SHA-256.
        subjects.extend(digest.hex().parse().map(|it| subject(name, it)));
        Self {
            form: STATEMENT.to_owned(),
            subject: subjects,
            kind: kind.to_owned(),
            predicate,
        }
    }

    /// Whether it is about that manifest.
    #[must_use]
    pub fn is_about(&self, id: ManifestId) -> bool {
        let mut subjects = self.subject.iter();
        subjects.any(|it| it.name == MANIFEST && it.digest.sha256 == id)
    }
}

impl Envelope {
    /// Puts a statement in.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn new(statement: &Statement) -> Result<Self, Unrepresentable> {
        Ok(Self {
            payload: BASE64.encode(&canonical::to_bytes(statement)?),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// Reads an envelope and what is in it.
    ///
    /// # Errors
    /// See [`AttestError`]. Whether a signature fits is not asked.
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

    /// What is signed: DSSE's pre-authentication encoding.
    ///
    /// # Errors
    /// The payload is not in base 64.
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
        let payload = BASE64.decode(self.payload.as_bytes());
        payload.map_err(AttestError::Base64)
    }
}

impl EnvelopeSignature {
    /// The armored signature.
    ///
    /// # Errors
    /// It is not in base 64.
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
    fn what_is_no_attestation_is_told() {
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
