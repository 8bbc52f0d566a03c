//! Is the host who it should be? One given key, or a `known_hosts` file; never trust on first use.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use ring::hmac;
use russh::keys::Algorithm;
use russh::keys::ssh_key::{HashAlg, PublicKey};

use super::SshError;
use crate::plan::HostKey;

/// What a host must show.
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

/// A line of `known_hosts` that names the host.
#[derive(Clone, Debug)]
struct Entry {
    line: usize,
    revoked: bool,
    key: PublicKey,
}

impl Expected {
    /// Reads what a host must show. A missing `known_hosts` file knows nobody.
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

    /// The host-key algorithms to ask for: those of the known keys first, since a host shows only one of its keys.
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

    /// Whether this key, which the host has proved to hold, is the right one.
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

/// Algorithm and fingerprint, as `ssh-keygen -l` shows them.
pub(super) fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

fn one_line(key: &PublicKey) -> String {
    PublicKey::from(key.key_data().clone())
        .to_openssh()
        .unwrap_or_else(|_| describe(key))
}

fn read(file: &Path) -> Result<String, SshError> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(SshError::Unreadable {
            path: file.to_owned(),
            source,
        }),
    }
}

/// How `known_hosts` writes a host: with its port unless that is 22.
fn host_name(address: &str, port: u16) -> String {
    let address = address.to_lowercase();
    if port == 22 {
        address
    } else {
        format!("[{address}]:{port}")
    }
}

/// The lines that name `host`. Lines that cannot be read are passed over, as OpenSSH does.
fn entries(text: &str, host: &str) -> Vec<Entry> {
    let entry = |(index, line): (usize, &str)| {
        let mut words = line.split_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        // A certificate authority is no host key; karat asks hosts for plain keys only.
        if marker.is_some_and(|marker| marker != "@revoked") {
            return None;
        }
        let patterns = words.next().filter(|word| !word.starts_with('#'))?;
        if !names(patterns, host) {
            return None;
        }
        let key = PublicKey::from_openssh(&format!("{} {}", words.next()?, words.next()?)).ok()?;
        Some(Entry {
            line: index + 1,
            revoked: marker.is_some(),
            key,
        })
    };
    text.lines().enumerate().filter_map(entry).collect()
}

/// Whether a comma-separated list of patterns names the host.
fn names(patterns: &str, host: &str) -> bool {
    let mut named = false;
    for pattern in patterns.split(',') {
        if let Some(excluded) = pattern.strip_prefix('!') {
            if matches(excluded, host) {
                return false;
            }
        } else if matches(pattern, host) {
            named = true;
        }
    }
    named
}

fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("|1|") {
        Some(hashed) => is_hash_of(hashed, host),
        None => wildcard(pattern.to_lowercase().as_bytes(), host.as_bytes()),
    }
}

/// `salt|hash`: HMAC-SHA1 of the name, which is what `ssh-keygen -H` writes.
fn is_hash_of(hashed: &str, host: &str) -> bool {
    let decode = |text: &str| BASE64.decode(text.as_bytes()).ok();
    hashed
        .split_once('|')
        .and_then(|(salt, hash)| Some((decode(salt)?, decode(hash)?)))
        .is_some_and(|(salt, hash)| {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
            hmac::verify(&key, host.as_bytes(), &hash).is_ok()
        })
}

/// `*` is any run of characters, `?` any one.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| wildcard(rest, &text[skip..])),
        (Some((b'?', rest)), Some((_, text))) => wildcard(rest, text),
        (Some((a, rest)), Some((b, text))) if a == b => wildcard(rest, text),
        _ => false,
    }
}
