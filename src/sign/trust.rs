//! Whose signatures count: OpenSSH's `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS), and a list of keys that do not any
//! more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use thiserror::Error;

use super::when;
use crate::time::Timestamp;

/// The largest file that is read.
const LARGEST: u64 = 16 << 20;

/// Whom a file trusts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// In the order of the file.
    pub entries: Vec<Trusted>,
    revoked: Vec<Revoked>,
}

/// A line of the file.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// Who it is: one name, or patterns of names with commas between them.
    pub principals: String,
    /// Patterns of what it may sign; everything when there are none.
    pub namespaces: Option<String>,
    /// Signatures count from then on.
    pub valid_after: Option<Timestamp>,
    /// They do not any more from then on.
    pub valid_before: Option<Timestamp>,
    /// The key.
    pub key: PublicKey,
}

/// A key that nobody trusts any more.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Revoked {
    Key(Box<PublicKey>),
    Fingerprint(String),
}

/// What the file says of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is that of these principals.
    Trusted(Vec<String>),
    /// Nobody trusts it any more.
    Revoked,
    /// It is somebody's, and its time is over.
    Expired(String, Timestamp),
    /// It is somebody's, and its time has not come.
    NotYet(String, Timestamp),
    /// It is somebody's who may not sign this.
    Elsewhere(String),
    /// It is nobody's.
    Unknown,
}

/// A file that says who is trusted, and that cannot be used.
#[derive(Debug, Error, Diagnostic)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help(
        "`karat keys trust NAME KEY.pub` makes it; `--trust FILE` or KARAT_TRUST names another; `--unsigned` asks for no signature"
    ))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anybody can write to it.
    #[error("everybody can write to {} (mode {mode:04o})", path.display())]
    #[diagnostic(help("`chmod o-w` it, and see whether somebody has added a key"))]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line of it makes no sense.
    #[error("{}:{line}: {problem}", path.display())]
    #[diagnostic(help(
        "a line is: NAME, options such as valid-before=\"20270101Z\", then a public key as in `id_ed25519.pub`; see ALLOWED SIGNERS in ssh-keygen(1)"
    ))]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl Trust {
    /// Reads the file, and a list of revoked keys where there is one: a public key or a `SHA256:` fingerprint a line.
    ///
    /// # Errors
    /// A file cannot be read or is open to everybody, or a line of it makes no sense.
    pub fn read(path: &Path, revoked: Option<&Path>) -> Result<Self, TrustError> {
        let mut trust = Self::default();
        private(path)?;
        for (number, line) in lines(&text(path)?) {
            match trusted(line) {
                Ok(entry) => trust.entries.extend(entry),
                Err(problem) => return Err(in_line(path, number, problem)),
            }
        }
        if let Some(path) = revoked {
            private(path)?;
            for (number, line) in lines(&text(path)?) {
                let Some(revoked) = revocation(line) else {
                    let problem = "neither a public key nor a SHA256: fingerprint".to_owned();
                    return Err(in_line(path, number, problem));
                };
                trust.revoked.push(revoked);
            }
        }
        Ok(trust)
    }

    /// What is thought of a signature that was made with a key for a purpose.
    #[must_use]
    pub fn standing(&self, key: &PublicKey, namespace: &str, now: Timestamp) -> Standing {
        if self.is_revoked(key) {
            return Standing::Revoked;
        }
        let (mut principals, mut otherwise) = (Vec::new(), Standing::Unknown);
        let its = self.entries.iter();
        for entry in its.filter(|entry| entry.key.key_data() == key.key_data()) {
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

    /// The same list of revoked keys with one line alone.
    #[must_use]
    pub fn only(&self, entry: &Trusted) -> Self {
        Self {
            entries: vec![entry.clone()],
            revoked: self.revoked.clone(),
        }
    }

    /// Whether a key is on the list of those that do not count any more.
    #[must_use]
    pub fn is_revoked(&self, key: &PublicKey) -> bool {
        self.revoked.iter().any(|it| match it {
            Revoked::Key(other) => other.key_data() == key.key_data(),
            Revoked::Fingerprint(text) => *text == fingerprint(key),
        })
    }
}

/// How people compare keys: `SHA256:` and base64.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Whether a comma-separated list of patterns has a name, as OpenSSH reads it: `!` before a pattern excludes.
#[must_use]
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

/// `*` is any text, `?` any one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    // What the pattern so far can match: `fits[n]` when it matches the first n characters.
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
    /// The line that says this.
    ///
    /// # Errors
    /// The key cannot be written down.
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
        let options = match options.join(",") {
            none if none.is_empty() => none,
            some => format!("{some} "),
        };
        let key = self.key.to_openssh()?;
        Ok(format!("{} {options}{key}\n", self.principals))
    }
}

/// Refuses a file that everybody can write to. Its group may: a checkout of a shared list has what the umask says.
fn private(path: &Path) -> Result<(), TrustError> {
    // Whether it can be read at all is told by who reads it.
    let mode = fs::metadata(path).map_or(0, |found| found.mode() & 0o7777);
    if mode & 0o002 == 0 {
        return Ok(());
    }
    let path = path.to_owned();
    Err(TrustError::Open { path, mode })
}

/// One line; `None` where it says that somebody's certificates count, which signatures here have not.
fn trusted(line: &str) -> Result<Option<Trusted>, String> {
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
        return Err("it begins with no name".to_owned());
    }
    if let Some(entry) = entry(rest) {
        return Ok(Some(entry));
    }
    let (options, rest) = options(rest)?;
    let Some(mut entry) = entry(rest) else {
        return Err("there is no public key in it".to_owned());
    };
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((&option, ""));
        let time = || when::parse(value).ok_or_else(|| format!("{value:?} is no day or time"));
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => return Ok(None),
            "namespaces" => entry.namespaces = Some(value.to_owned()),
            "valid-after" => entry.valid_after = Some(time()?),
            "valid-before" => entry.valid_before = Some(time()?),
            _ => return Err(format!("{name:?} is no option")),
        }
    }
    Ok(Some(entry))
}

/// The first word, which may be in quotes, and what follows it.
fn word(line: &str) -> Result<(String, &str), String> {
    if let Some(rest) = line.strip_prefix('"') {
        let (word, rest) = rest.split_once('"').ok_or("a quote is not closed")?;
        return Ok((word.to_owned(), rest.trim_start()));
    }
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    Ok((word.to_owned(), rest.trim_start()))
}

/// Options up to the first blank that is not in quotes, each without its quotes, and what follows them.
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
        return Err("a quote is not closed".to_owned());
    }
    Err("there is no public key in it".to_owned())
}

fn revocation(line: &str) -> Option<Revoked> {
    if line.starts_with("SHA256:") {
        let text = line.split_whitespace().next()?;
        return Some(Revoked::Fingerprint(text.to_owned()));
    }
    let key = PublicKey::from_openssh(line).ok()?;
    Some(Revoked::Key(Box::new(key)))
}

fn in_line(path: &Path, line: usize, problem: String) -> TrustError {
    TrustError::Line {
        path: path.to_owned(),
        line,
        problem,
    }
}

fn text(path: &Path) -> Result<String, TrustError> {
    let read = |source| TrustError::Read {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(read)?.len() > LARGEST {
        return Err(read(io::Error::other("it is larger than any list of keys")));
    }
    fs::read_to_string(path).map_err(read)
}

/// Lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}
