//! `karat keys generate`

use std::io;
use std::path::PathBuf;

use clap::Args;
use russh::keys::ssh_key::PublicKey;
use serde_json::json;

use super::{KeysError, append, directory_of, is_special, write};
use crate::cli::CommandError;
use crate::cli::shared::key_args::{KeyArgs, configuration};
use crate::cli::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use crate::os::{atomic_file, user};
use crate::sign::{NAMESPACES, Trust, Trusted, fingerprint};
use crate::ssh::keys::KeyPair;
use crate::ui::Ui;
use crate::ui::text::{terminal_safe, with_causes};

/// Generate an Ed25519 key for builds to sign with, and its public key beside it (.pub)
///
/// Trusts the key on this machine if no key is trusted yet and `KARAT_TRUST` is not set: writes a line to
/// `karat/allowed_signers` in the XDG configuration directory, with the comment as the name of the signer.
///
/// The key has no passphrase, so that nightly builds can use it; keep it on the build machine. Keys made with ssh-keygen,
/// including those on a security key, work as well: name them with --key.
#[derive(Clone, Debug, Args)]
pub(super) struct GenerateArgs {
    /// Comment of the public key [default: this user on this host]
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: &GenerateArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let path = args.key.path()?;
    let public = path.with_added_extension("pub");
    let comment = args.comment.clone().unwrap_or_else(user::who);
    let pair = KeyPair::generate(&terminal_safe(&comment)).map_err(KeysError::Generate)?;
    directory_of(&path)?;
    pair.write_private(&path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeysError::Exists(path.clone()),
            _ => write(&path)(error),
        })?;
    let line = format!("{}\n", pair.public_line());
    atomic_file::write(&public, 0o644, line.as_bytes()).map_err(write(&public))?;
    let key = PublicKey::from_openssh(pair.public_line()).map_err(KeysError::Generate)?;
    let fingerprint = fingerprint(&key);
    let trusted = match trust_first_key(key, &signer_name(&comment)) {
        Ok(trusted) => trusted,
        // The key is there and can sign. Trust may be managed by another user.
        Err(error) => {
            ui.warn(&format!(
                "the key is not trusted yet: {}",
                with_causes(&error)
            ));
            None
        }
    };
    let report = json!({
        "key": path.display().to_string(), "public": pair.public_line(), "fingerprint": fingerprint,
        "trusted_in": trusted.as_ref().map(|path| path.display().to_string()),
    });
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &report, || line)?;
    if let Some(trust) = &trusted {
        ui.note(&format!(
            "trusted on this machine as {}; to undo, delete its line in {}",
            signer_name(&comment),
            trust.display()
        ));
    }
    let shown = path.display();
    let signs = if KeyArgs::of_environment()
        .path()
        .is_ok_and(|used| used == path)
    {
        format!("builds now sign with {shown}")
    } else {
        format!("builds sign with {shown} if `--key {shown}` or KARAT_KEY names it")
    };
    ui.note(&format!(
        "{signs}; run `karat keys trust NAME {}` on every {}machine that verifies",
        public.display(),
        if trusted.is_some() { "other " } else { "" }
    ));
    Ok(())
}

/// Trusts a key, if it is the first one: no key is trusted in the user's own trust file, and no other file is in use. Returns
/// the file that was changed.
fn trust_first_key(key: PublicKey, name: &str) -> Result<Option<PathBuf>, KeysError> {
    let Ok(path) = configuration("allowed_signers") else {
        return Ok(None);
    };
    let is_first = match Trust::read(&path, None) {
        Ok(trust) => trust.entries.is_empty(),
        Err(error) if error.is_missing_trust() => true,
        Err(_) => false,
    };
    if !is_first || std::env::var_os("KARAT_TRUST").is_some() {
        return Ok(None);
    }
    let entry = Trusted {
        principals: name.to_owned(),
        namespaces: Some(NAMESPACES.to_owned()),
        valid_after: None,
        valid_before: None,
        key,
    };
    append(&path, &entry.line().map_err(KeysError::Generate)?)?;
    Ok(Some(path))
}

/// Derives the name of a signer from the comment of a key.
fn signer_name(comment: &str) -> String {
    match comment.replace(is_special, "-") {
        name if name.is_empty() => "me".to_owned(),
        name => name,
    }
}
