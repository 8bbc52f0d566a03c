//! Checks of the host files that a template names, made before anything is launched.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::problem::{Problem, Span};

/// A condition on a host file, to be checked before a build starts.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) path: PathBuf,
    /// Path as the template has it.
    pub(crate) written: String,
    pub(crate) span: Span,
    pub(crate) kind: NeedKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NeedKind {
    File,
    /// A file whose first line an interpreter reads.
    Script,
    FileOrDirectory,
    PrivateKey,
    /// Nothing may exist at the path.
    Absent,
}

/// Returns the problem with a path, if any.
pub(crate) fn check(need: &Need, force: bool) -> Option<Problem> {
    let Need {
        path,
        written,
        span,
        kind,
    } = need;
    let problem = |what: String| Problem::at(span.clone(), what);
    if is_url(written) {
        return Some(
            problem(format!("{written:?} is a URL, not a path on this host"))
                .help(instead_of_url(*kind)),
        );
    }
    if *kind == NeedKind::Absent {
        // A dangling link counts as existing, so links are not followed.
        return (!force && fs::symlink_metadata(path).is_ok()).then(|| {
            problem(format!("{written:?} already exists"))
                .help("remove it, choose another path, or use `--force` to replace it")
        });
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let problem = problem(format!("{written:?} does not exist"));
            return Some(problem.help(format!("karat looked in {}", looked_in(path, written))));
        }
        Err(error) => return Some(problem(format!("cannot use {written:?}: {error}"))),
    };
    if metadata.is_dir() && *kind != NeedKind::FileOrDirectory {
        return Some(problem(format!("{written:?} is a directory")));
    }
    if metadata.is_dir() {
        return None;
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) => return Some(problem(format!("cannot read {written:?}: {error}"))),
    };
    if *kind == NeedKind::Script && has_windows_line(file) {
        let what = format!("{written:?} has Windows line endings (CR LF)");
        return Some(problem(what).help("convert it with `dos2unix`; in git, `*.sh text eol=lf` in `.gitattributes` keeps it so"));
    }
    if *kind == NeedKind::PrivateKey {
        return private_key(path)
            .map(|(what, help)| problem(format!("{written:?} {what}")).help(help));
    }
    None
}

/// Returns true for text that is a URL rather than a path.
pub(crate) fn is_url(text: &str) -> bool {
    ["https://", "http://", "ftp://", "file://", "s3://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

fn instead_of_url(kind: NeedKind) -> &'static str {
    match kind {
        NeedKind::FileOrDirectory => {
            "write `url = \"https://...\"` and `sha256 = \"...\"` instead of `source`"
        }
        NeedKind::Script => {
            "fetch it with [[files]], `url` and `sha256`, and run it in a step by its path in the guest"
        }
        NeedKind::File => {
            "download the file to this host; the URL of a base stands in [base.url], with `sha256`"
        }
        NeedKind::PrivateKey => "give a file on this host",
        NeedKind::Absent => "give a path on this host; [publish] uploads an image",
    }
}

/// Returns whether the first line ends with CR LF, so that its interpreter would not be found.
fn has_windows_line(file: fs::File) -> bool {
    let mut line = Vec::new();
    // No interpreter is named in a longer line.
    let read = BufReader::new(file.take(4096)).read_until(b'\n', &mut line);
    read.is_ok() && line.ends_with(b"\r\n")
}

fn looked_in(path: &Path, written: &str) -> String {
    let dir = path.parent().unwrap_or(path);
    if Path::new(written).is_absolute() {
        "exactly that place".to_owned()
    } else if written.starts_with("~/") {
        format!("`{}`, in the home directory", dir.display())
    } else {
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
            "use a key without a passphrase, or omit `key_file` and add this key to an SSH agent",
        )),
        Err(error) => Some((
            format!("is not a private key: {error}"),
            "give the private key (the file without `.pub`) in OpenSSH or PEM format",
        )),
    }
}
