//! The audit log: one line for every change of a store. Pure.
//!
//! The lines are a [hash chain](crate::record::hash_chain). It cannot show that the last lines were cut off; for that a signed
//! [checkpoint](Checkpoint) holds the length of the log.
//!
//! A line is written before the change that it describes, so no change is without its line. A line whose change was never made,
//! because the process was killed in between, does no harm.

use std::fmt;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::os::user::Actor;
use crate::record::canonical::{self, Unrepresentable};
use crate::record::hash_chain::HashChain;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

pub const SCHEMA: &str = "karat.audit/1";
pub const CHECKPOINT_SCHEMA: &str = "karat.checkpoint/1";
/// SSHSIG namespace of checkpoints.
pub const NAMESPACE: &str = "karat-audit@v1";

/// Kind of change to a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditEvent {
    /// A manifest and its image are added.
    Record,
    /// A scan result is added.
    Scan,
    /// A signature is added.
    Sign,
    /// An attestation is added.
    Attest,
    /// A manifest is revoked.
    Revoke,
    /// A channel is promoted.
    Promote,
    /// A channel is rolled back.
    Rollback,
    Pin,
    /// The pins of a manifest are removed.
    Unpin,
    /// Images are marked for removal.
    Condemn,
    /// The marks of images are taken away.
    Spare,
    /// The bytes of images are removed.
    Remove,
}

impl fmt::Display for AuditEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Details of a change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangeDetails {
    pub ids: Vec<ManifestId>,
    /// Name of the channel, the image, or the type of the attestation.
    pub subject: Option<String>,
    /// SHA-256 of the record that is written.
    pub digest: Option<Digest>,
    pub reason: Option<String>,
}

/// A line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    pub schema: String,
    pub number: u64,
    pub at: Timestamp,
    /// Name of the user.
    pub actor: String,
    pub host: String,
    /// Verb of karat that made the change.
    pub command: String,
    pub event: AuditEvent,
    pub ids: Vec<ManifestId>,
    /// Name of the channel, the image, or the type of the attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// SHA-256 of the record that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of the line before, without its newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

/// Invalid audit log or checkpoint.
#[derive(Debug, Error, Diagnostic)]
pub enum AuditError {
    #[error("line {number} is not a valid audit record")]
    Form {
        number: u64,
        source: serde_json::Error,
    },
    #[error("line {number} has the schema {schema:?}, which this karat does not support")]
    #[diagnostic(help("use the karat that wrote it, or a newer one"))]
    Schema { number: u64, schema: String },
    #[error("it is not a checkpoint")]
    Checkpoint(#[source] serde_json::Error),
    #[error("line {number} {problem}")]
    Broken { number: u64, problem: &'static str },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl AuditRecord {
    /// Returns the line after the one whose number and digest are `before`.
    #[must_use]
    pub fn after(
        before: Option<(u64, Digest)>,
        actor: &Actor,
        event: AuditEvent,
        about: ChangeDetails,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            number: before.map_or(0, |(number, _)| number) + 1,
            at: Timestamp::now(),
            actor: actor.name.clone(),
            host: actor.host.clone(),
            command: actor.command.clone(),
            event,
            ids: about.ids,
            subject: about.subject,
            digest: about.digest,
            reason: about.reason.filter(|reason| !reason.is_empty()),
            before: before.map(|(_, digest)| digest),
        }
    }

    /// Returns the line without its newline.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        canonical::to_bytes(self)
    }

    /// Parses a line, which must be canonical JSON. `number` is for errors.
    pub fn from_bytes(bytes: &[u8], number: u64) -> Result<Self, AuditError> {
        let line: Self =
            serde_json::from_slice(bytes).map_err(|source| AuditError::Form { number, source })?;
        if line.schema != SCHEMA {
            let schema = line.schema;
            return Err(AuditError::Schema { number, schema });
        }
        if line.to_bytes()? != bytes {
            let problem = "is not in canonical form";
            return Err(AuditError::Broken { number, problem });
        }
        Ok(line)
    }
}

/// A log whose chain was verified.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditLog {
    /// Lines with their digests, in order.
    pub lines: Vec<(AuditRecord, Digest)>,
    /// Set if the file ends with a partial line: its writer was killed before it made the change. The next change removes it.
    pub torn: bool,
}

impl AuditLog {
    /// Parses a log and verifies its chain.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuditError> {
        let mut log = Self::default();
        let mut chain = HashChain::default();
        let complete = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        log.torn = complete < bytes.len();
        for text in bytes[..complete].split_inclusive(|byte| *byte == b'\n') {
            let text = &text[..text.len() - 1];
            let number = chain.next_number();
            let line = AuditRecord::from_bytes(text, number)?;
            let digest = Digest::of(text);
            chain
                .push(line.number, line.before, digest)
                .map_err(|problem| AuditError::Broken { number, problem })?;
            log.lines.push((line, digest));
        }
        Ok(log)
    }

    /// Returns how a checkpoint contradicts this log; `None` if they agree.
    #[must_use]
    pub fn contradicts(&self, point: &Checkpoint) -> Option<String> {
        let number = point.number;
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        match self.lines.get(at) {
            Some((_, digest)) if *digest == point.digest => None,
            Some(_) => Some(format!(
                "line {number} of the audit log is not the line that the checkpoint of {} signs",
                point.at
            )),
            None => Some(format!(
                "the audit log has {} lines, but had {number} when the checkpoint of {} was signed: lines were cut off",
                self.lines.len(),
                point.at,
            )),
        }
    }
}

/// Length of a log at a time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub schema: String,
    pub number: u64,
    /// SHA-256 of the last line.
    pub digest: Digest,
    pub at: Timestamp,
}

impl Checkpoint {
    /// Returns the checkpoint of a log with this number of lines and this digest of the last one.
    #[must_use]
    pub fn new(number: u64, digest: Digest) -> Self {
        Self {
            schema: CHECKPOINT_SCHEMA.to_owned(),
            number,
            digest,
            at: Timestamp::now(),
        }
    }

    /// Returns the bytes to sign.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        canonical::to_bytes(self)
    }
}

/// A checkpoint with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    /// Armored SSHSIG of the checkpoint.
    pub signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(count: u64) -> Vec<u8> {
        let actor = Actor {
            name: "ci".to_owned(),
            host: "builder".to_owned(),
            command: "promote".to_owned(),
        };
        let mut bytes = Vec::new();
        let mut before = None;
        for number in 1..=count {
            let about = ChangeDetails {
                ids: vec![ManifestId::of(&number.to_be_bytes())],
                subject: Some("web/stable".to_owned()),
                reason: Some("grün \"line\"\nend".to_owned()),
                ..ChangeDetails::default()
            };
            let line = AuditRecord::after(before, &actor, AuditEvent::Promote, about);
            let text = line.to_bytes().unwrap();
            before = Some((number, Digest::of(&text)));
            bytes.extend(text);
            bytes.push(b'\n');
        }
        bytes
    }

    fn last(log: &AuditLog) -> (u64, Digest) {
        let (line, digest) = log.lines.last().unwrap();
        (line.number, *digest)
    }

    #[test]
    fn lines_follow_from_each_other() {
        let bytes = log(4);
        let read = AuditLog::from_bytes(&bytes).unwrap();
        assert_eq!((read.lines.len(), read.torn), (4, false));
        assert_eq!(last(&read).0, 4);
        assert_eq!(AuditLog::from_bytes(b"").unwrap(), AuditLog::default());
        let torn = AuditLog::from_bytes(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!((torn.lines.len(), torn.torn), (3, true));
    }

    #[test]
    fn a_changed_byte_or_a_removed_line_is_noticed() {
        let bytes = log(3);
        let (number, digest) = last(&AuditLog::from_bytes(&bytes).unwrap());
        let point = Checkpoint::new(number, digest);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let seen = match AuditLog::from_bytes(&changed) {
                Ok(read) => read.torn || read.contradicts(&point).is_some(),
                Err(_) => true,
            };
            assert!(seen, "byte {at}");
        }
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(AuditLog::from_bytes(&[lines[0], lines[2]].concat()).is_err());
        assert!(AuditLog::from_bytes(&[lines[1], lines[2]].concat()).is_err());
        let cut = AuditLog::from_bytes(lines[0]).unwrap();
        let said = cut.contradicts(&point).unwrap();
        assert!(
            said.contains("has 1 lines") && said.contains("had 3"),
            "{said}"
        );
        let other = Checkpoint::new(2, digest);
        assert!(
            AuditLog::from_bytes(&bytes)
                .unwrap()
                .contradicts(&other)
                .is_some()
        );
    }

    #[test]
    fn a_future_schema_is_refused() {
        let text = String::from_utf8(log(1)).unwrap();
        let text = text.replace("karat.audit/1", "karat.audit/2");
        let error = AuditLog::from_bytes(text.as_bytes()).unwrap_err();
        assert!(matches!(error, AuditError::Schema { number: 1, .. }));
    }
}
