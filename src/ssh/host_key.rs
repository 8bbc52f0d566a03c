//! Host key verification against one given key or a `known_hosts` file. Never trusts on first use.

use std::path::{Path, PathBuf};

use ring::hmac;
use russh::keys::Algorithm;
use russh::keys::ssh_key::known_hosts::{self, HostPatterns, Marker};
use russh::keys::ssh_key::{HashAlg, PublicKey};

use super::SshError;
use crate::os::if_exists;
use crate::plan::HostKey;
use crate::sign::matches_list;

/// Expected key of a host.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    address: String,
    port: u16,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Exactly(PublicKey),
    Known { file: PathBuf, entries: Vec<Entry> },
}

/// A line of `known_hosts` that matches the host.
#[derive(Clone, Debug)]
struct Entry {
    line: usize,
    revoked: bool,
    key: PublicKey,
}

impl Expected {
    /// Reads the expected key. A missing `known_hosts` file counts as empty.
    pub(super) fn read(address: &str, port: u16, host_key: &HostKey) -> Result<Self, SshError> {
        let keys = match host_key {
            HostKey::Key(text) => {
                Keys::Exactly(PublicKey::from_openssh(text.trim()).map_err(|source| {
                    SshError::BadHostKey {
                        text: text.clone(),
                        source,
                    }
                })?)
            }
            HostKey::KnownHosts(file) => Keys::Known {
                file: file.clone(),
                entries: entries(&read(file)?, &host_name(address, port)),
            },
        };
        Ok(Self {
            address: address.to_owned(),
            port,
            keys,
        })
    }

    /// Orders host key algorithms, those of the known keys first: a host shows only one of its keys.
    pub(super) fn algorithms(&self, default: &[Algorithm]) -> Vec<Algorithm> {
        let known: Vec<Algorithm> = match &self.keys {
            Keys::Exactly(key) => vec![key.algorithm()],
            Keys::Known { entries, .. } => {
                entries.iter().map(|entry| entry.key.algorithm()).collect()
            }
        };
        let is_known = |algorithm: &&Algorithm| match algorithm {
            Algorithm::Rsa { .. } => known
                .iter()
                .any(|known| matches!(known, Algorithm::Rsa { .. })),
            other => known.contains(other),
        };
        let (mut first, rest): (Vec<&Algorithm>, Vec<&Algorithm>) =
            default.iter().partition(is_known);
        first.extend(rest);
        first.into_iter().cloned().collect()
    }

    /// Checks a key whose possession the host has proved.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), SshError> {
        match &self.keys {
            Keys::Exactly(expected) if expected.key_data() == key.key_data() => Ok(()),
            Keys::Exactly(expected) => {
                Err(self.differs(key, format!("{} was expected", describe(expected))))
            }
            Keys::Known { file, entries } => self.check_known(file, entries, key),
        }
    }

    fn check_known(&self, file: &Path, entries: &[Entry], key: &PublicKey) -> Result<(), SshError> {
        let same = |entry: &&Entry| entry.key.key_data() == key.key_data();
        if let Some(entry) = entries.iter().filter(|entry| entry.revoked).find(same) {
            return Err(SshError::HostKeyRevoked {
                address: self.label(),
                found: describe(key),
                file: file.to_owned(),
                line: entry.line,
            });
        }
        let mut trusted = entries.iter().filter(|entry| !entry.revoked);
        if trusted.clone().any(|entry| same(&entry)) {
            return Ok(());
        }
        match trusted.next() {
            Some(entry) => Err(self.differs(
                key,
                format!(
                    "line {} of {} says {}",
                    entry.line,
                    file.display(),
                    describe(&entry.key)
                ),
            )),
            None => Err(SshError::HostUnknown {
                address: self.label(),
                found: describe(key),
                file: file.to_owned(),
                line: format!("{} {}", host_name(&self.address, self.port), one_line(key)),
            }),
        }
    }

    fn differs(&self, key: &PublicKey, expected: String) -> SshError {
        SshError::HostKeyDiffers {
            address: self.label(),
            found: describe(key),
            expected,
        }
    }

    fn label(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }
}

/// Formats algorithm and fingerprint like `ssh-keygen -l`.
pub(super) fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn one_line(key: &PublicKey) -> String {
    PublicKey::from(key.key_data().clone())
        .to_openssh()
        .unwrap_or_else(|_| describe(key))
}

fn read(file: &Path) -> Result<String, SshError> {
    let bytes = if_exists(std::fs::read(file)).map_err(|source| SshError::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

/// Formats a host as in `known_hosts`, with its port unless that is 22.
pub(super) fn host_name(address: &str, port: u16) -> String {
    let address = address.to_lowercase();
    if port == 22 {
        address
    } else {
        format!("[{address}]:{port}")
    }
}

/// Returns the entries for `host`. Lines that cannot be parsed are skipped, as OpenSSH does.
fn entries(text: &str, host: &str) -> Vec<Entry> {
    let entry = |(index, line): (usize, &str)| {
        let (line, _comment) = line.split_once('#').unwrap_or((line, ""));
        // ssh-key splits at single spaces, OpenSSH at any white space.
        let words: Vec<&str> = line.split_whitespace().collect();
        let known: known_hosts::Entry = words.join(" ").parse().ok()?;
        // karat asks hosts for plain keys only, which no certificate authority signs.
        if known.marker() == Some(&Marker::CertAuthority) || !names(known.host_patterns(), host) {
            return None;
        }
        Some(Entry {
            line: index + 1,
            revoked: known.marker() == Some(&Marker::Revoked),
            key: known.public_key().clone(),
        })
    };
    text.lines().enumerate().filter_map(entry).collect()
}

fn names(patterns: &HostPatterns, host: &str) -> bool {
    match patterns {
        HostPatterns::Patterns(patterns) => matches_list(&patterns.join(",").to_lowercase(), host),
        // HMAC-SHA1 of the name, written by `ssh-keygen -H`.
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, host.as_bytes(), hash).is_ok()
        }
    }
}
