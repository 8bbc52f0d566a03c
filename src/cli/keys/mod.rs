//! `karat keys`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use miette::Diagnostic;
use russh::keys::ssh_key::PublicKey;
use serde_json::{Value, json};
use thiserror::Error;

mod generate;

use super::shared::key_args::{KeyArgs, TrustArgs, configuration};
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::{CommandError, ExitStatus};
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::sign::{MANIFEST, NAMESPACES, Standing, Trust, Trusted, fingerprint, when};
use crate::time::Timestamp;
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// Generate signing keys, and manage the trusted ones
#[derive(Clone, Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Generate(generate::GenerateArgs),
    Trust(KeysTrustArgs),
    Revoke(KeysRevokeArgs),
    List(ListArgs),
}

/// Trust signatures of a key as those of NAME
#[derive(Clone, Debug, Args)]
struct KeysTrustArgs {
    /// Owner of the key: a name or an address, without spaces and commas
    name: String,

    /// The public key, as `karat keys generate` and ssh-keygen write it
    #[arg(value_name = "KEY.pub")]
    public: PathBuf,

    /// Trust the key from this day or time on, such as 20260131 or 202601312359 (UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    valid_after: Option<Timestamp>,

    /// Trust the key before this day or time only
    #[arg(long, value_name = "TIME", value_parser = moment)]
    valid_before: Option<Timestamp>,

    #[command(flatten)]
    trust: TrustArgs,
}

/// Revoke a key: its signatures are rejected, even if the key is trusted
#[derive(Clone, Debug, Args)]
struct KeysRevokeArgs {
    /// The public key, or its SHA256: fingerprint
    #[arg(value_name = "KEY.pub|SHA256:...")]
    key: String,

    #[command(flatten)]
    trust: TrustArgs,
}

/// List the trusted keys
#[derive(Clone, Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Debug, Error, Diagnostic)]
enum KeysError {
    #[error("key {} exists already", .0.display())]
    #[diagnostic(help(
        "a new key would replace it, so that it can no longer sign; choose another file with `--key`"
    ))]
    Exists(PathBuf),
    #[error("invalid signer name `{0}`")]
    #[diagnostic(help("names have no spaces, commas, quotes, `*`, `?`, `!` or `#`"))]
    InvalidName(String),
    #[error("`{0}` is neither a public key file nor a SHA256: fingerprint")]
    #[diagnostic(help("`ssh-keygen -l -f KEY.pub` shows the fingerprint"))]
    InvalidKey(String),
    #[error("{} is a private key", .0.display())]
    #[diagnostic(help("give its public key, such as {}.pub", .0.display()))]
    Private(PathBuf),
    #[error("cannot read the public key {}", path.display())]
    #[diagnostic(help("expected a file such as `id_ed25519.pub`"))]
    Read {
        path: PathBuf,
        source: russh::keys::ssh_key::Error,
    },
    #[error("cannot read the public key {}", path.display())]
    #[diagnostic(help(
        "expected a file such as `id_ed25519.pub`; `karat keys generate` writes one beside the key"
    ))]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot generate a key")]
    #[diagnostic(help("generate one with ssh-keygen, and name it with `--key`"))]
    Generate(#[source] russh::keys::ssh_key::Error),
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the permissions and free space of its directory"))]
    Write { path: PathBuf, source: io::Error },
}

impl ExitStatus for KeysError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Write { .. } | Self::Generate(_) => 1,
            _ => 2,
        }
    }
}

pub(crate) fn run(args: &KeysArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    match &args.verb {
        Verb::Generate(args) => generate::run(args, ui, out),
        Verb::Trust(args) => trust(args, ui),
        Verb::Revoke(args) => revoke(args, ui),
        Verb::List(args) => list(args, ui, out),
    }
}

/// Returns whether a letter may not be part of the name of a signer.
fn is_special(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || ",\"*?!#\\".contains(letter)
}

fn trust(args: &KeysTrustArgs, ui: &Ui) -> Result<(), CommandError> {
    let name = &args.name;
    if name.is_empty() || name.contains(is_special) {
        return Err(KeysError::InvalidName(name.clone()).into());
    }
    let entry = Trusted {
        principals: name.clone(),
        namespaces: Some(NAMESPACES.to_owned()),
        valid_after: args.valid_after,
        valid_before: args.valid_before,
        key: read_public(&args.public)?,
    };
    let path = args.trust.path()?;
    let line = entry.line().map_err(KeysError::Generate)?;
    append(&path, &line)?;
    ui.note(&format!(
        "trusted {} as {name} in {}",
        fingerprint(&entry.key),
        path.display()
    ));
    Ok(())
}

fn revoke(args: &KeysRevokeArgs, ui: &Ui) -> Result<(), CommandError> {
    let text = args.key.trim();
    let invalid = || KeysError::InvalidKey(text.to_owned());
    let revoked = if let Some(digits) = text.strip_prefix("SHA256:") {
        let is_digit = |digit: char| digit.is_ascii_alphanumeric() || "+/".contains(digit);
        // 32 bytes in base64 without padding.
        if digits.len() != 43 || !digits.chars().all(is_digit) {
            return Err(invalid().into());
        }
        text.to_owned()
    } else if Path::new(text).exists() {
        fingerprint(&read_public(Path::new(text))?)
    } else {
        return Err(invalid().into());
    };
    let path = match &args.trust.revoked {
        Some(path) => path.clone(),
        None => configuration("revoked_keys")?,
    };
    append(&path, &format!("{revoked}\n"))?;
    ui.note(&format!("revoked {revoked} in {}", path.display()));
    Ok(())
}

fn list(args: &ListArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let path = args.trust.path()?;
    let trust = match args.trust.read_from(&path) {
        // No key is trusted before the first `karat keys trust`.
        Err(error) if error.is_missing_trust() && args.trust.trust.is_none() => Trust::default(),
        read => read?,
    };
    if trust.entries.is_empty() {
        ui.note(&format!(
            "no trusted keys in {}; `karat keys trust NAME KEY.pub` adds one",
            path.display()
        ));
    }
    let own = args.key.signer().ok().flatten();
    let own = own.map(|signer| signer.public().key_data().clone());
    let now = Timestamp::now();
    let rows = trust.entries.iter().map(|entry| KeyRow {
        entry,
        state: state(&trust, entry, now),
        signs_here: own.as_ref() == Some(entry.key.key_data()),
    });
    let mut records = out.records(args.format.with_json_as(OutputFormat::Json));
    for row in rows {
        records.add(&row.json(), || row.text())?;
    }
    records.finish()
}

/// A line of the trust file.
struct KeyRow<'a> {
    entry: &'a Trusted,
    state: String,
    /// Builds on this machine sign with this key.
    signs_here: bool,
}

impl KeyRow<'_> {
    fn text(&self) -> String {
        let signs = if self.signs_here { ", signs here" } else { "" };
        format!(
            "{}  {}  {}  {}{signs}",
            terminal_safe(&self.entry.principals),
            self.entry.key.algorithm(),
            fingerprint(&self.entry.key),
            self.state
        )
    }

    fn json(&self) -> Value {
        let entry = self.entry;
        let mut row = json!({
            "name": entry.principals,
            "type": entry.key.algorithm().as_str(),
            "fingerprint": fingerprint(&entry.key),
            "state": self.state,
            "signs_here": self.signs_here,
        });
        for (key, time) in [
            ("valid_after", entry.valid_after),
            ("valid_before", entry.valid_before),
        ] {
            if let Some(time) = time {
                row[key] = time.to_string().into();
            }
        }
        row
    }
}

/// Describes the standing of one line of the trust file at `now`.
fn state(trust: &Trust, entry: &Trusted, now: Timestamp) -> String {
    let alone = trust.only(entry);
    match alone.standing(&entry.key, MANIFEST, now) {
        Standing::Trusted(_) => match entry.valid_before {
            Some(before) => format!("trusted until {before}"),
            None => "trusted".to_owned(),
        },
        Standing::Revoked => "revoked".to_owned(),
        Standing::Expired(_, before) => format!("expired {before}"),
        Standing::NotYet(_, after) => format!("trusted from {after}"),
        Standing::Elsewhere(_) | Standing::Unknown => "not for images".to_owned(),
    }
}

fn read_public(path: &Path) -> Result<PublicKey, KeysError> {
    let path = path.to_owned();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(KeysError::Open { path, source }),
    };
    let text = String::from_utf8_lossy(&bytes);
    // Of OpenSSH, or of an older kind: `-----BEGIN RSA PRIVATE KEY-----`.
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("-----BEGIN ") && first.contains("PRIVATE KEY") {
        return Err(KeysError::Private(path));
    }
    PublicKey::from_openssh(text.trim_end()).map_err(|source| KeysError::Read { path, source })
}

/// Appends a line to a file under a lock, since other processes may append to it.
fn append(path: &Path, line: &str) -> Result<(), KeysError> {
    directory_of(path)?;
    let add = || {
        let lock = path.with_added_extension("lock");
        let lock = loop {
            match FileLock::try_exclusive(&lock)? {
                Some(lock) => break lock,
                None => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        let mut text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        atomic_file::write(path, 0o644, text.as_bytes())?;
        lock.remove()
    };
    add().map_err(write(path))
}

fn directory_of(path: &Path) -> Result<(), KeysError> {
    let directory = atomic_file::directory_of(path);
    fs::create_dir_all(directory).map_err(write(directory))
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::Write { path, source }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    when::parse(text).ok_or_else(|| "expected a time such as 20260131 or 202601312359".to_owned())
}
