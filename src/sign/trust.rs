//! Trusted keys: OpenSSH's `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS), and a list of revoked keys.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use thiserror::Error;

use super::when;
use crate::time::Timestamp;

/// Largest file that is read.
const MAX_TRUST_BYTES: u64 = 16 << 20;

/// Trusted and revoked keys.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Lines of the trust file, in order.
    pub entries: Vec<Trusted>,
    revoked: Vec<Revoked>,
}

/// A line of the trust file.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// Signer: one name, or comma-separated patterns of names.
    pub principals: String,
    /// Patterns of the namespaces that the key may sign; `None` allows all.
    pub namespaces: Option<String>,
    /// First moment at which signatures count.
    pub valid_after: Option<Timestamp>,
    /// First moment at which they no longer count.
    pub valid_before: Option<Timestamp>,
    pub key: PublicKey,
}

/// A line of the list of revoked keys.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Revoked {
    Key(Box<PublicKey>),
    Fingerprint(String),
}

/// Trust in a key, for one namespace at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Trusted, as the key of these principals.
    Trusted(Vec<String>),
    Revoked,
    /// The trust ended at this time.
    Expired(String, Timestamp),
    /// The trust begins at this time.
    NotYet(String, Timestamp),
    /// Trusted, but not for this namespace.
    Elsewhere(String),
    Unknown,
}

/// The two files that decide whose signatures count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyList {
    Trusted,
    Revoked,
}

impl fmt::Display for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted keys",
            Self::Revoked => "revoked keys",
        })
    }
}

impl TrustError {
    /// Returns true if there is no file of trusted keys.
    pub fn is_missing_trust(&self) -> bool {
        matches!(self, Self::Read { list: KeyList::Trusted, source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Failure to read the files of trusted and revoked keys.
#[derive(Debug, Error, Diagnostic)]
pub enum TrustError {
    #[error("cannot read the {list} in {}", path.display())]
    #[diagnostic(help("{}", match list {
        KeyList::Trusted => "`karat keys trust NAME KEY.pub` creates the file; `--trust FILE` or KARAT_TRUST names another; `--unsigned` requires no signature",
        KeyList::Revoked => "`karat keys revoke KEY.pub` creates the file; `--revoked FILE` or KARAT_REVOKED names another",
    }))]
    Read {
        list: KeyList,
        path: PathBuf,
        source: io::Error,
    },
    #[error("all users can write to {} (mode {mode:04o})", path.display())]
    #[diagnostic(help("run `chmod o-w {}`, and check that no key was {}", path.display(), match list {
        KeyList::Trusted => "added",
        KeyList::Revoked => "removed",
    }))]
    Open {
        list: KeyList,
        path: PathBuf,
        mode: u32,
    },
    #[error("{}:{line}: {problem}", path.display())]
    #[diagnostic(help("{}", match list {
        KeyList::Trusted => "a line is: NAME, options such as valid-before=\"20270101Z\", then a public key as in `id_ed25519.pub`; see ALLOWED SIGNERS in ssh-keygen(1)",
        KeyList::Revoked => "a line is a public key as in `id_ed25519.pub`, or its SHA256: fingerprint; `karat keys revoke` adds one",
    }))]
    Line {
        list: KeyList,
        path: PathBuf,
        line: usize,
        problem: String,
    },
}

impl Trust {
    /// Reads the trust file, and the list of revoked keys if given: a public key or a `SHA256:` fingerprint a line.
    pub fn read(path: &Path, revoked: Option<&Path>) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        read_lines(KeyList::Trusted, path, |line| {
            trust.entries.extend(parse_trusted(line)?);
            Ok(())
        })?;
        if let Some(path) = revoked {
            read_lines(KeyList::Revoked, path, |line| {
                let revoked = parse_revoked(line);
                let problem = "neither a public key nor a SHA256: fingerprint";
                trust.revoked.push(revoked.ok_or(problem)?);
                Ok(())
            })?;
        }
        Ok(trust)
    }

    /// Returns whether `key` may sign for `namespace` at `now`, and for whom.
    pub fn standing(&self, key: &PublicKey, namespace: &str, now: Timestamp) -> Standing {
        if self.is_revoked(key) {
            return Standing::Revoked;
        }
        let (mut principals, mut otherwise) = (Vec::new(), Standing::Unknown);
        for entry in &self.entries {
            if entry.key.key_data() != key.key_data() {
                continue;
            }
            let name = || entry.principals.clone();
            let namespaces = entry.namespaces.as_deref();
            if !namespaces.is_none_or(|list| matches_list(list, namespace)) {
                otherwise = Standing::Elsewhere(name());
            } else if let Some(before) = entry.valid_before.filter(|before| now >= *before) {
                otherwise = Standing::Expired(name(), before);
            } else if let Some(after) = entry.valid_after.filter(|after| now < *after) {
                otherwise = Standing::NotYet(name(), after);
            } else {
                principals.push(name());
            }
        }
        if principals.is_empty() {
            otherwise
        } else {
            Standing::Trusted(principals)
        }
    }

    /// Returns a copy that trusts one line alone.
    pub fn only(&self, entry: &Trusted) -> Self {
        Self {
            entries: vec![entry.clone()],
            revoked: self.revoked.clone(),
        }
    }

    /// Returns whether the key is on the list of revoked keys.
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.iter().any(|revoked| match revoked {
            Revoked::Key(other) => other.key_data() == key.key_data(),
            Revoked::Fingerprint(text) => *text == fingerprint(key),
        })
    }
}

/// Returns a key's fingerprint as ssh-keygen shows it: `SHA256:` and base64.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Returns whether a comma-separated list of OpenSSH patterns matches a name: `!` before a pattern excludes.
pub fn matches_list(list: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, name) => return false,
            Some(_) => {}
            None => found |= matches(pattern, name),
        }
    }
    found
}

/// Matches one pattern without backtracking: `*` is any text, `?` any one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    // `fits[n]`: the pattern so far matches the first n characters.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for letter in pattern {
        if letter == '*' {
            let first = fits.iter().position(|fit| *fit).unwrap_or(fits.len());
            fits.iter_mut().skip(first).for_each(|fit| *fit = true);
        } else {
            for at in (1..fits.len()).rev() {
                fits[at] = fits[at - 1] && (letter == '?' || letter == name[at - 1]);
            }
            fits[0] = false;
        }
    }
    fits[name.len()]
}

impl Trusted {
    /// Formats the line of the trust file.
    pub fn line(&self) -> Result<String, russh::keys::ssh_key::Error> {
        let mut options = Vec::new();
        if let Some(namespaces) = &self.namespaces {
            options.push(format!("namespaces=\"{namespaces}\""));
        }
        for (name, time) in [
            ("valid-after", self.valid_after),
            ("valid-before", self.valid_before),
        ] {
            options.extend(time.map(|time| format!("{name}=\"{}\"", when::text(time))));
        }
        let mut words = vec![self.principals.clone()];
        if !options.is_empty() {
            words.push(options.join(","));
        }
        words.push(self.key.to_openssh()?);
        Ok(words.join(" ") + "\n")
    }
}

/// Reads each line of a file that not all users can write to.
fn read_lines(
    list: KeyList,
    path: &Path,
    mut parse: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), TrustError> {
    check_permissions(list, path)?;
    for (line, content) in lines(&text(list, path)?) {
        parse(content).map_err(|problem| TrustError::Line {
            list,
            path: path.to_owned(),
            line,
            problem,
        })?;
    }
    Ok(())
}

/// Refuses a file that all users can write to. Its group may: a checkout of a shared list follows the umask.
fn check_permissions(list: KeyList, path: &Path) -> Result<(), TrustError> {
    // A file that cannot be read is reported by `text`.
    let mode = fs::metadata(path).map_or(0, |found| found.mode() & 0o7777);
    if mode & 0o002 == 0 {
        return Ok(());
    }
    Err(TrustError::Open {
        list,
        path: path.to_owned(),
        mode,
    })
}

/// Parses a line. `None` for a `cert-authority`: signatures here carry no certificates.
fn parse_trusted(line: &str) -> Result<Option<Trusted>, String> {
    let (principals, rest) = word(line)?;
    let entry = |rest: &str| {
        let key = PublicKey::from_openssh(rest.trim()).ok()?;
        Some(Trusted {
            principals: principals.clone(),
            namespaces: None,
            valid_after: None,
            valid_before: None,
            key,
        })
    };
    if principals.is_empty() {
        return Err("the line does not begin with a name".to_owned());
    }
    if let Some(entry) = entry(rest) {
        return Ok(Some(entry));
    }
    let (options, rest) = options(rest)?;
    let Some(mut entry) = entry(rest) else {
        return Err("the line has no public key".to_owned());
    };
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        let time = || when::parse(value).ok_or_else(|| format!("{value:?} is not a day or time"));
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => return Ok(None),
            "namespaces" => entry.namespaces = Some(value.to_owned()),
            "valid-after" => entry.valid_after = Some(time()?),
            "valid-before" => entry.valid_before = Some(time()?),
            _ => return Err(format!("unknown option {name:?}")),
        }
    }
    Ok(Some(entry))
}

/// Splits off the first word, which may be quoted.
fn word(line: &str) -> Result<(String, &str), String> {
    if let Some(rest) = line.strip_prefix('"') {
        let (word, rest) = rest
            .split_once('"')
            .ok_or("the quotation mark is not closed")?;
        return Ok((word.to_owned(), rest.trim_start()));
    }
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    Ok((word.to_owned(), rest.trim_start()))
}

/// Splits off the options: up to the first blank outside quotes, each without its quotes.
fn options(text: &str) -> Result<(Vec<String>, &str), String> {
    let (mut options, mut option, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quoted && letters.next_if(|(_, next)| *next == '"').is_some() => {
                option.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => options.push(std::mem::take(&mut option)),
            ' ' | '\t' if !quoted => {
                options.push(option);
                return Ok((options, &text[at..]));
            }
            letter => option.push(letter),
        }
    }
    if quoted {
        return Err("the quotation mark is not closed".to_owned());
    }
    Err("the line has no public key".to_owned())
}

fn parse_revoked(line: &str) -> Option<Revoked> {
    if line.starts_with("SHA256:") {
        let text = line.split_whitespace().next()?;
        return Some(Revoked::Fingerprint(text.to_owned()));
    }
    let key = PublicKey::from_openssh(line).ok()?;
    Some(Revoked::Key(Box::new(key)))
}

fn text(list: KeyList, path: &Path) -> Result<String, TrustError> {
    let read = |source| TrustError::Read {
        list,
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(read)?.len() > MAX_TRUST_BYTES {
        return Err(read(io::Error::other(
            "it is larger than a list of keys can be",
        )));
    }
    fs::read_to_string(path).map_err(read)
}

/// Returns the lines that are neither blank nor comments, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}
