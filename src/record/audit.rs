//! The audit log: one line for every change of a store. Pure: the [store](crate::store) keeps it.
//!
//! Lines are numbered from 1 without a gap, and each carries the digest of the one before, so that none can be changed, taken
//! out or put in later. What that cannot show is that the last lines were cut off: a signed [checkpoint](Checkpoint) holds
//! how many there were.
//!
//! A line is written before the change that it tells of. So there is no change without its line; a line whose change never
//! came, because the process was killed between the two, does no harm.

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::os::user::Actor;
use crate::record::canonical;
use crate::record::manifest::{ManifestId, Unrepresentable};
use crate::time::Timestamp;

/// Name and version of the form of lines.
pub const SCHEMA: &str = "karat.audit/1";
/// Name and version of the form of checkpoints.
pub const CHECKPOINT_SCHEMA: &str = "karat.checkpoint/1";
/// What signatures of checkpoints are for.
pub const NAMESPACE: &str = "karat-audit@v1";

/// What is done to a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An image is recorded.
    Record,
    /// The result of a scan is put beside a manifest.
    Scan,
    /// A manifest is signed.
    Sign,
    /// A statement about a manifest is put beside it.
    Attest,
    /// A manifest is forbidden.
    Revoke,
    /// A channel goes forward.
    Promote,
    /// A channel goes back.
    Rollback,
    /// A manifest is kept whatever happens.
    Pin,
    /// It is not any more.
    Unpin,
    /// Images are marked for removal.
    Condemn,
    /// Images that were marked are kept after all.
    Spare,
    /// The bytes of images are removed.
    Remove,
}

impl Event {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Scan => "scan",
            Self::Sign => "sign",
            Self::Attest => "attest",
            Self::Revoke => "revoke",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::Condemn => "condemn",
            Self::Spare => "spare",
            Self::Remove => "remove",
        }
    }
}

/// What a change is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// The manifests.
    pub ids: Vec<ManifestId>,
    /// The channel that moves, or another name.
    pub subject: Option<String>,
    /// SHA-256 of what is written.
    pub digest: Option<Digest>,
    /// Why, as whoever did it says.
    pub reason: Option<String>,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// From 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The user.
    pub actor: String,
    /// The machine.
    pub host: String,
    /// The verb of karat.
    pub command: String,
    /// What is done.
    pub event: Event,
    /// The manifests that it is about.
    pub ids: Vec<ManifestId>,
    /// The channel that moves, or another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// SHA-256 of what is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of the line before, without its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

/// What is wrong with a log.
#[derive(Debug, Error, Diagnostic)]
pub enum AuditError {
    /// A line cannot be read.
    #[error("line {number} has no form of one")]
    Form {
        /// Which.
        number: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A newer karat wrote it.
    #[error("the form of line {number} is {schema:?}, which this karat does not know")]
    #[diagnostic(help("use the karat that wrote it, or a newer one"))]
    Schema {
        /// Which.
        number: u64,
        /// What it says.
        schema: String,
    },
    /// The checkpoint cannot be read.
    #[error("it has no form of a checkpoint")]
    Checkpoint(#[source] serde_json::Error),
    /// A line does not follow from the one before.
    #[error("line {number} {problem}")]
    Broken {
        /// Which.
        number: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A value that cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Line {
    /// The line that comes after another; the first where there is none. `before` is the digest of that one's bytes.
    #[must_use]
    pub fn after(before: Option<(u64, Digest)>, actor: &Actor, event: Event, about: About) -> Self {
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
            reason: about.reason.filter(|it| !it.is_empty()),
            before: before.map(|(_, digest)| digest),
        }
    }

    /// Its bytes, without the end of the line.
    ///
    /// # Errors
    /// A value is outside what canonical JSON can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        canonical::to_bytes(self)
    }

    /// Reads a line; `number` is for the error alone.
    ///
    /// # Errors
    /// It has no form of one, or is written otherwise than karat writes it.
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

/// A log that was read whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Log {
    /// Lines with the digest of each, in order.
    pub lines: Vec<(Line, Digest)>,
    /// The last line has no end: whoever wrote it was killed before its change. The next change takes it away.
    pub torn: bool,
}

impl Log {
    /// Reads a log, and checks that every line follows from the one before.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AuditError> {
        let mut log = Self::default();
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        log.torn = whole < bytes.len();
        for text in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
            let text = &text[..text.len() - 1];
            let number = log.lines.len() as u64 + 1;
            let line = Line::from_bytes(text, number)?;
            let broken = |problem| Err(AuditError::Broken { number, problem });
            if line.number != number {
                return broken("has another number");
            }
            if line.before != log.last().map(|(_, digest)| digest) {
                return broken("does not follow from the one before");
            }
            log.lines.push((line, Digest::of(text)));
        }
        Ok(log)
    }

    /// Number and digest of the last line.
    #[must_use]
    pub fn last(&self) -> Option<(u64, Digest)> {
        self.lines
            .last()
            .map(|(line, digest)| (line.number, *digest))
    }

    /// What a checkpoint says against this log; `None` when they agree.
    #[must_use]
    pub fn contradicts(&self, point: &Checkpoint) -> Option<String> {
        let number = point.number;
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        match self.lines.get(at) {
            Some((_, digest)) if *digest == point.digest => None,
            Some(_) => Some(format!(
                "line {number} of the audit log is not the one that a checkpoint of {} has signed",
                point.at
            )),
            None => Some(format!(
                "the audit log has {} lines, and had {number} when a checkpoint of {} was signed: lines were cut off",
                self.lines.len(),
                point.at,
            )),
        }
    }
}

/// How long a log was at some time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Always [`CHECKPOINT_SCHEMA`].
    pub schema: String,
    /// So many lines.
    pub number: u64,
    /// SHA-256 of the last of them.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
}

impl Checkpoint {
    /// The checkpoint of a log that ends so.
    #[must_use]
    pub fn new(number: u64, digest: Digest) -> Self {
        Self {
            schema: CHECKPOINT_SCHEMA.to_owned(),
            number,
            digest,
            at: Timestamp::now(),
        }
    }

    /// What is signed.
    ///
    /// # Errors
    /// A value is outside what canonical JSON can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        canonical::to_bytes(self)
    }
}

/// A checkpoint as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The armored signature.
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
            let about = About {
                ids: vec![ManifestId::of(&number.to_be_bytes())],
                subject: Some("web/stable".to_owned()),
                reason: Some("grün \"line\"\nend".to_owned()),
                ..About::default()
            };
            let line = Line::after(before, &actor, Event::Promote, about);
            let text = line.to_bytes().unwrap();
            before = Some((number, Digest::of(&text)));
            bytes.extend(text);
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn lines_follow_from_each_other() {
        let bytes = log(4);
        let read = Log::from_bytes(&bytes).unwrap();
        assert_eq!((read.lines.len(), read.torn), (4, false));
        assert_eq!(read.last().unwrap().0, 4);
        assert_eq!(Log::from_bytes(b"").unwrap(), Log::default());
        let torn = Log::from_bytes(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!((torn.lines.len(), torn.torn), (3, true));
    }

    #[test]
    fn any_byte_that_is_changed_and_any_line_that_is_taken_out_is_seen() {
        let bytes = log(3);
        let (number, digest) = Log::from_bytes(&bytes).unwrap().last().unwrap();
        let point = Checkpoint::new(number, digest);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let seen = match Log::from_bytes(&changed) {
                Ok(read) => read.torn || read.contradicts(&point).is_some(),
                Err(_) => true,
            };
            assert!(seen, "byte {at}");
        }
        let lines: Vec<_> = bytes.split_inclusive(|it| *it == b'\n').collect();
        assert!(Log::from_bytes(&[lines[0], lines[2]].concat()).is_err());
        assert!(Log::from_bytes(&[lines[1], lines[2]].concat()).is_err());
        let cut = Log::from_bytes(lines[0]).unwrap();
        let said = cut.contradicts(&point).unwrap();
        assert!(
            said.contains("has 1 lines") && said.contains("had 3"),
            "{said}"
        );
        let other = Checkpoint::new(2, digest);
        assert!(
            Log::from_bytes(&bytes)
                .unwrap()
                .contradicts(&other)
                .is_some()
        );
    }

    #[test]
    fn a_future_form_is_told() {
        let text = String::from_utf8(log(1)).unwrap();
        let text = text.replace("karat.audit/1", "karat.audit/2");
        let error = Log::from_bytes(text.as_bytes()).unwrap_err();
        assert!(matches!(error, AuditError::Schema { number: 1, .. }));
    }
}
