//! Which signatures count, and whether they are those that were asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use russh::keys::ssh_key::PublicKey;

use super::failure::chain;
use super::store_args::plain;
use crate::sign::{MANIFEST, Signature, Standing, Trust, fingerprint, matches_list};
use crate::time::Timestamp;

/// A signature and what is thought of it.
pub(in crate::cli) struct Judged {
    /// Whose it is, where its form is right.
    pub(in crate::cli) key: Option<PublicKey>,
    /// Who has the key, as the trust file has it.
    pub(in crate::cli) names: Vec<String>,
    /// Why it does not count.
    pub(in crate::cli) because: Option<String>,
}

impl Judged {
    /// What counts comes first, then names.
    fn order(&self) -> (bool, &[String]) {
        (self.because.is_some(), &self.names)
    }
}

/// Whose signatures are asked for, and of how many keys.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Asked<'a> {
    pub(in crate::cli) require: u16,
    pub(in crate::cli) by: &'a [String],
    /// So many of the approvers.
    pub(in crate::cli) approvals: u16,
    pub(in crate::cli) approvers: &'a [String],
}

/// What is thought of each signature of a manifest's bytes, in an order that does not depend on the signatures.
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

/// What is thought of a signature of some bytes.
pub(in crate::cli) fn judge(trust: &Trust, namespace: &str, text: &[u8], bytes: &[u8]) -> Judged {
    let verified = Signature::parse(text).and_then(|it| it.verify(namespace, bytes));
    let key = match verified {
        Ok(key) => key,
        Err(error) => {
            let because = Some(chain(&error, ": "));
            return Judged {
                key: None,
                names: Vec::new(),
                because,
            };
        }
    };
    let (names, because) = match trust.standing(&key, namespace, Timestamp::now()) {
        Standing::Trusted(names) => (names, None),
        Standing::Revoked => (Vec::new(), Some("the key was revoked".to_owned())),
        Standing::Expired(name, before) => {
            (vec![name], Some(format!("the key's time ended {before}")))
        }
        Standing::NotYet(name, after) => {
            (vec![name], Some(format!("the key's time begins {after}")))
        }
        Standing::Elsewhere(name) => (vec![name], Some("the key may not sign images".to_owned())),
        Standing::Unknown => (Vec::new(), Some("nobody you trust has the key".to_owned())),
    };
    Judged {
        key: Some(key),
        names,
        because,
    }
}

/// What is missing of the signatures that were asked for.
pub(in crate::cli) fn wanting(asked: Asked<'_>, about: &str, judged: &[Judged]) -> Vec<String> {
    let good = || judged.iter().filter(|it| it.because.is_none());
    let keys: BTreeSet<_> = good()
        .filter_map(|it| it.key.as_ref().map(fingerprint))
        .collect();
    let mut wanting = Vec::new();
    if keys.len() < usize::from(asked.require) {
        let mut text = format!(
            "{about}: signatures that count: {}, asked for: {}",
            keys.len(),
            asked.require
        );
        for it in judged {
            if let Some(because) = &it.because {
                let _ = write!(text, "\n  {}: {because}", who(it));
            }
        }
        wanting.push(text);
    }
    let signed_by = |signer: &&String| {
        let by = |it: &Judged| it.names.iter().any(|names| matches_list(names, signer));
        good().any(by)
    };
    for signer in asked.by {
        if !signed_by(&signer) {
            wanting.push(format!("{about}: {} has not signed it", plain(signer)));
        }
    }
    let approved: Vec<_> = asked.approvers.iter().filter(signed_by).collect();
    // One key of two names is one person.
    let of_approver = |it: &&Judged| {
        let named = |names: &String| asked.approvers.iter().any(|it| matches_list(names, it));
        it.names.iter().any(named)
    };
    let their_keys: BTreeSet<_> = good()
        .filter(of_approver)
        .filter_map(|it| it.key.as_ref().map(fingerprint))
        .collect();
    let approvals = approved.len().min(their_keys.len());
    if approvals < usize::from(asked.approvals) {
        let others = asked.approvers.iter().filter(|it| !signed_by(it));
        let others: Vec<_> = others.map(|it| plain(it)).collect();
        wanting.push(format!(
            "{about}: approved by {} of the {} that are asked for; not by {}",
            approvals,
            asked.approvals,
            others.join(", ")
        ));
    }
    wanting
}

/// A signer for people: the names and the key.
pub(in crate::cli) fn who(judged: &Judged) -> String {
    let key = judged
        .key
        .as_ref()
        .map_or_else(|| "a signature".to_owned(), fingerprint);
    match &judged.names[..] {
        [] => key,
        names => format!("{} ({key})", plain(&names.join(", "))),
    }
}
