//! Judges signatures: whether they are valid, trusted, and those that a policy requires.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use russh::keys::ssh_key::PublicKey;

use crate::sign::{MANIFEST, Signature, Standing, Trust, fingerprint, matches_list};
use crate::time::Timestamp;
use crate::ui::text::{terminal_safe, with_causes};

/// A signature and its standing.
pub(in crate::cli) struct Judged {
    /// The signing key; `None` if the signature is malformed or does not match the signed bytes.
    pub(in crate::cli) key: Option<PublicKey>,
    /// Names of the key in the trust file.
    pub(in crate::cli) names: Vec<String>,
    /// Reason why the signature is not accepted.
    pub(in crate::cli) because: Option<String>,
}

impl Judged {
    pub(in crate::cli) fn is_accepted(&self) -> bool {
        self.because.is_none()
    }

    /// Sorts accepted signatures first, then by name.
    fn order(&self) -> (bool, &[String]) {
        (self.because.is_some(), &self.names)
    }

    /// Names the signer and the key for people.
    pub(in crate::cli) fn signer(&self) -> String {
        let key = self.key.as_ref().map(fingerprint);
        let key = key.unwrap_or_else(|| "a signature".to_owned());
        match &self.names[..] {
            [] => key,
            names => format!("{} ({key})", terminal_safe(&names.join(", "))),
        }
    }
}

/// Signatures that a manifest must have.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Required<'a> {
    /// Number of distinct keys.
    pub(in crate::cli) keys: u16,
    pub(in crate::cli) signers: &'a [String],
    /// Number of approvers, each with a key of their own.
    pub(in crate::cli) approvals: u16,
    pub(in crate::cli) approvers: &'a [String],
}

/// Judges the signatures of a manifest, in an order that does not depend on the signatures.
pub(in crate::cli) fn judge_all<'t>(
    trust: &Trust,
    texts: impl Iterator<Item = &'t [u8]>,
    bytes: &[u8],
) -> Vec<Judged> {
    let mut judged: Vec<_> = texts
        .map(|text| judge(trust, MANIFEST, text, bytes))
        .collect();
    judged.sort_by(|one, other| one.order().cmp(&other.order()));
    judged
}

/// Judges the signature `text` of `bytes` for `namespace` at the current time.
pub(in crate::cli) fn judge(trust: &Trust, namespace: &str, text: &[u8], bytes: &[u8]) -> Judged {
    let verified = Signature::parse(text).and_then(|signature| signature.verify(namespace, bytes));
    let key = match verified {
        Ok(key) => key,
        Err(error) => {
            return Judged {
                key: None,
                names: Vec::new(),
                because: Some(with_causes(&error)),
            };
        }
    };
    let (names, because) = match trust.standing(&key, namespace, Timestamp::now()) {
        Standing::Trusted(names) => (names, None),
        Standing::Revoked => (Vec::new(), Some("the key is revoked".to_owned())),
        Standing::Expired(name, before) => (vec![name], Some(format!("the key expired {before}"))),
        Standing::NotYet(name, after) => (
            vec![name],
            Some(format!("the key is not valid before {after}")),
        ),
        Standing::Elsewhere(name) => (
            vec![name],
            Some("the key is not trusted for images".to_owned()),
        ),
        Standing::Unknown => (Vec::new(), Some("the key is not trusted".to_owned())),
    };
    Judged {
        key: Some(key),
        names,
        because,
    }
}

/// Reports the required signatures that are missing. `subject` names what must be signed.
pub(in crate::cli) fn missing_signatures(
    required: Required<'_>,
    subject: &str,
    judged: &[Judged],
) -> Vec<String> {
    let accepted: Vec<_> = judged.iter().filter(|one| one.is_accepted()).collect();
    let mut missing = Vec::new();
    let keys = distinct_keys(accepted.iter().copied());
    if keys < usize::from(required.keys) {
        let mut text = format!(
            "{subject}: {keys} of {} required signatures from trusted keys",
            required.keys
        );
        for one in judged {
            if let Some(because) = &one.because {
                let _ = write!(text, "\n  {}: {because}", one.signer());
            }
        }
        missing.push(text);
    }
    let has_signed = |signer: &&String| {
        let names = accepted.iter().flat_map(|one| &one.names);
        { names }.any(|names| matches_list(names, signer))
    };
    for signer in required.signers.iter().filter(|signer| !has_signed(signer)) {
        missing.push(format!(
            "{subject}: not signed by {}",
            terminal_safe(signer)
        ));
    }
    let approved = required.approvers.iter().filter(has_signed).count();
    // One key under two names is one person.
    let is_approver = |one: &&Judged| {
        one.names.iter().any(|names| {
            let mut approvers = required.approvers.iter();
            approvers.any(|approver| matches_list(names, approver))
        })
    };
    let approvals = approved.min(distinct_keys(accepted.iter().copied().filter(is_approver)));
    if approvals < usize::from(required.approvals) {
        let others = required.approvers.iter().filter(|name| !has_signed(name));
        let others: Vec<_> = others.map(|name| terminal_safe(name)).collect();
        missing.push(format!(
            "{subject}: {approvals} of {} required approvals; not approved by {}",
            required.approvals,
            others.join(", ")
        ));
    }
    missing
}

fn distinct_keys<'a>(judged: impl Iterator<Item = &'a Judged>) -> usize {
    let keys: BTreeSet<_> = judged
        .filter_map(|one| one.key.as_ref().map(fingerprint))
        .collect();
    keys.len()
}
