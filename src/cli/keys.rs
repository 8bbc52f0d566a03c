//! `karat keys`

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use miette::Diagnostic;
use russh::keys::ssh_key::PublicKey;
use serde_json::json;
use thiserror::Error;

use super::shared::key_args::{KeyArgs, NoConfiguration, TrustArgs, configuration};
use super::shared::store_args::plain;
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::os::user;
use crate::sign::{MANIFEST, NAMESPACES, Standing, Trust, TrustError, Trusted, fingerprint, when};
use crate::ssh::keys::KeyPair;
use crate::time::Timestamp;
use crate::ui::Ui;

/// Make a key that signs images, and say whose signatures count
#[derive(Clone, Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Generate(GenerateArgs),
    Trust(KeysTrustArgs),
    Revoke(KeysRevokeArgs),
    List(ListArgs),
}

/// Make an Ed25519 key that builds sign with, and its public half beside it (.pub)
///
/// It has no passphrase, so that nightly builds can use it; keep it on the machine that builds. A key of ssh-keygen, also one
/// on a security key, does as well: name it with --key.
#[derive(Clone, Debug, Args)]
struct GenerateArgs {
    /// Who the key is, for people who see its public half [default: this user on this host]
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    #[command(flatten)]
    key: KeyArgs,
}

/// Let the signatures of a key count, as those of NAME
#[derive(Clone, Debug, Args)]
struct KeysTrustArgs {
    /// Whose key it is: a name or an address, without blanks and commas
    name: String,

    /// The public key, as `karat keys generate` and ssh-keygen write it
    #[arg(value_name = "KEY.pub")]
    public: PathBuf,

    /// Its signatures count from this day or time on, such as 20260131 or 202601312359 (UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    valid_after: Option<Timestamp>,

    /// Its signatures do not count any more from this day or time on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    valid_before: Option<Timestamp>,

    #[command(flatten)]
    trust: TrustArgs,
}

/// Let the signatures of a key not count any more, whoever trusts it
#[derive(Clone, Debug, Args)]
struct KeysRevokeArgs {
    /// The public key, or its SHA256: fingerprint
    #[arg(value_name = "KEY.pub|SHA256:...")]
    key: String,

    #[command(flatten)]
    trust: TrustArgs,
}

/// List the keys whose signatures count
#[derive(Clone, Debug, Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    key: KeyArgs,
}

/// Why nothing was done with keys.
#[derive(Debug, Error, Diagnostic)]
pub enum KeysError {
    /// There is no place for them.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoConfiguration(#[from] NoConfiguration),
    /// The trust file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trust(#[from] TrustError),
    /// There is a key already.
    #[error("there is a key already: {}", .0.display())]
    #[diagnostic(help(
        "what it has signed would stay, but nobody could sign with it again; choose another file with `--key`"
    ))]
    Exists(PathBuf),
    /// A name that the file cannot hold.
    #[error("{0:?} is no name of a signer")]
    #[diagnostic(help("names have no blanks, commas, quotes, `*`, `?`, `!` or `#`"))]
    Name(String),
    /// Something that should be a public key.
    #[error("{0:?} is neither the file of a public key nor a SHA256: fingerprint")]
    #[diagnostic(help("`ssh-keygen -l -f KEY.pub` shows a fingerprint"))]
    NoKey(String),
    /// A public key that cannot be read.
    #[error("cannot read the public key {}", path.display())]
    #[diagnostic(help("a file such as `id_ed25519.pub` is expected"))]
    Public {
        /// The file.
        path: PathBuf,
        /// Why.
        source: russh::keys::ssh_key::Error,
    },
    /// A key could not be made.
    #[error("cannot make a key")]
    #[diagnostic(help("make one with ssh-keygen, and name it with `--key`"))]
    Generate(#[source] russh::keys::ssh_key::Error),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check that its directory can be written and has room"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl KeysError {
    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Write { .. } | Self::Output(_) | Self::Generate(_) => 1,
            _ => 2,
        }
    }
}

/// Makes, trusts, revokes or lists keys.
///
/// # Errors
/// See [`KeysError`].
pub fn run(args: &KeysArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), KeysError> {
    match &args.verb {
        Verb::Generate(args) => generate(args, ui, out),
        Verb::Trust(args) => trust(args, ui),
        Verb::Revoke(args) => revoke(args, ui),
        Verb::List(args) => list(args, out),
    }
}

fn generate(args: &GenerateArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), KeysError> {
    let path = args.key.path()?;
    let mut public = path.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    let comment = args.comment.clone().unwrap_or_else(user::who);
    let pair = KeyPair::generate(&plain(&comment)).map_err(KeysError::Generate)?;
    directory_of(&path)?;
    pair.write_private(&path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeysError::Exists(path.clone()),
            _ => write(&path)(error),
        })?;
    let line = format!("{}\n", pair.public_line());
    atomic_file::write(&public, 0o644, line.as_bytes()).map_err(write(&public))?;
    out.write_all(line.as_bytes())?;
    ui.note(&format!(
        "builds sign with {} now; `karat keys trust NAME {}` lets its signatures count, on every machine that verifies",
        path.display(),
        public.display()
    ));
    Ok(())
}

fn trust(args: &KeysTrustArgs, ui: &Ui) -> Result<(), KeysError> {
    let name = &args.name;
    let odd = |letter: char| {
        letter.is_whitespace() || letter.is_control() || ",\"*?!#\\".contains(letter)
    };
    if name.is_empty() || name.contains(odd) {
        return Err(KeysError::Name(name.clone()));
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
        "signatures of {} count as those of {name}: {}",
        fingerprint(&entry.key),
        path.display()
    ));
    Ok(())
}

fn revoke(args: &KeysRevokeArgs, ui: &Ui) -> Result<(), KeysError> {
    let text = args.key.trim();
    let revoked = if let Some(digits) = text.strip_prefix("SHA256:") {
        let is_digit = |it: char| it.is_ascii_alphanumeric() || "+/".contains(it);
        // 32 bytes in base64 without padding.
        if digits.len() != 43 || !digits.chars().all(is_digit) {
            return Err(KeysError::NoKey(text.to_owned()));
        }
        text.to_owned()
    } else if Path::new(text).exists() {
        fingerprint(&read_public(Path::new(text))?)
    } else {
        return Err(KeysError::NoKey(text.to_owned()));
    };
    let path = match &args.trust.revoked {
        Some(path) => path.clone(),
        None => configuration("revoked_keys")?,
    };
    append(&path, &format!("{revoked}\n"))?;
    ui.note(&format!(
        "{revoked} does not count any more: {}",
        path.display()
    ));
    Ok(())
}

fn list(args: &ListArgs, out: &mut dyn Write) -> Result<(), KeysError> {
    let path = args.trust.path()?;
    let trust = match args.trust.read(&path) {
        // Nobody is trusted yet, and that is an answer.
        Err(TrustError::Read { source, .. })
            if source.kind() == io::ErrorKind::NotFound && args.trust.trust.is_none() =>
        {
            Trust::default()
        }
        read => read?,
    };
    let own = args.key.signer().ok().flatten();
    let own = own.map(|signer| signer.public().key_data().clone());
    let now = Timestamp::now();
    let rows = trust.entries.iter().map(|entry| {
        let state = state(&trust, entry, now);
        let signs = own.as_ref() == Some(entry.key.key_data());
        (entry, state, signs)
    });
    if args.json {
        let rows: Vec<_> = rows
            .map(|(entry, state, signs)| {
                let mut row = json!({
                    "name": entry.principals,
                    "type": entry.key.algorithm().as_str(),
                    "fingerprint": fingerprint(&entry.key),
                    "state": state,
                    "signs_here": signs,
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
            })
            .collect();
        writeln!(out, "{}", serde_json::Value::from(rows))?;
        return Ok(());
    }
    for (entry, state, signs) in rows {
        let signs = if signs { ", signs here" } else { "" };
        writeln!(
            out,
            "{}  {}  {}  {state}{signs}",
            plain(&entry.principals),
            entry.key.algorithm(),
            fingerprint(&entry.key)
        )?;
    }
    Ok(())
}

/// Whether one line makes signatures count now.
fn state(trust: &Trust, entry: &Trusted, now: Timestamp) -> String {
    let alone = trust.only(entry);
    match alone.standing(&entry.key, MANIFEST, now) {
        Standing::Trusted(_) => match entry.valid_before {
            Some(before) => format!("counts until {before}"),
            None => "counts".to_owned(),
        },
        Standing::Revoked => "revoked".to_owned(),
        Standing::Expired(_, before) => format!("ended {before}"),
        Standing::NotYet(_, after) => format!("counts from {after}"),
        Standing::Elsewhere(_) | Standing::Unknown => "not for images".to_owned(),
    }
}

fn read_public(path: &Path) -> Result<PublicKey, KeysError> {
    PublicKey::read_openssh_file(path).map_err(|source| KeysError::Public {
        path: path.to_owned(),
        source,
    })
}

/// Adds a line to a file that others may be adding to.
fn append(path: &Path, line: &str) -> Result<(), KeysError> {
    directory_of(path)?;
    let add = || {
        let mut lock = path.to_owned().into_os_string();
        lock.push(".lock");
        let lock = loop {
            match FileLock::try_exclusive(Path::new(&lock))? {
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
    when::parse(text).ok_or_else(|| "write it as 20260131 or 202601312359".to_owned())
}
