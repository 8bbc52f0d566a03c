//! What must hold for the files that a template names, looked at before anything is launched.

use std::fs;
use std::io;
use std::path::Path;

use super::problem::Problem;
use crate::plan::check::{Need, NeedKind};

/// Says what is wrong with a path, if anything.
pub(super) fn check(need: &Need, force: bool) -> Option<Problem> {
    let Need {
        path,
        written,
        span,
        kind,
    } = need;
    let problem = |what: String| Problem::at(span.clone(), what);
    if *kind == NeedKind::Absent {
        // A dangling link is something too, so links are not followed.
        return (!force && fs::symlink_metadata(path).is_ok()).then(|| {
            problem(format!("{written:?} exists already"))
                .help("remove it, choose another path, or use `--force` to replace it")
        });
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let problem = problem(format!("{written:?} does not exist"));
            return Some(
                problem.help(format!("it was looked for in {}", looked_in(path, written))),
            );
        }
        Err(error) => return Some(problem(format!("{written:?} cannot be used: {error}"))),
    };
    if metadata.is_dir() && *kind != NeedKind::FileOrDirectory {
        return Some(problem(format!("{written:?} is a directory")));
    }
    if metadata.is_dir() {
        return None;
    }
    if let Err(error) = fs::File::open(path) {
        return Some(problem(format!("{written:?} cannot be read: {error}")));
    }
    if *kind == NeedKind::PrivateKey {
        return private_key(path)
            .map(|(what, help)| problem(format!("{written:?} {what}")).help(help));
    }
    None
}

fn looked_in(path: &Path, written: &str) -> String {
    if Path::new(written).is_absolute() {
        "that very place".to_owned()
    } else {
        let dir = path.parent().unwrap_or(path);
        format!(
            "`{}`, because paths are relative to the template",
            dir.display()
        )
    }
}

fn private_key(path: &Path) -> Option<(String, &'static str)> {
    use russh::keys::Error;
    match russh::keys::load_secret_key(path, None) {
        Ok(_) => None,
        Err(Error::KeyIsEncrypted) => Some((
            "is encrypted with a passphrase".to_owned(),
            "use a key without one, or leave `key_file` out and add this key to an SSH agent",
        )),
        Err(error) => Some((
            format!("is not a private key: {error}"),
            "name the private key (the file without `.pub`) in OpenSSH or PEM form",
        )),
    }
}
