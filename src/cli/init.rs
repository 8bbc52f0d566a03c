//! `karat init`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

const STARTER: &str = include_str!("starter.toml");
const FALLBACK_NAME: &str = "image";

/// Write a template to start from
///
/// Never overwrites a file.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// Write this file (`NAME.toml`), or into this directory
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    path: PathBuf,

    /// Name the image; made from the path when not given
    #[arg(long, value_parser = image_name)]
    name: Option<String>,
}

/// Why no template was written.
#[derive(Debug, Error, Diagnostic)]
pub enum InitError {
    /// Something is there.
    #[error("{} exists already", path.display())]
    #[diagnostic(help("give another path: `karat init other.toml`"))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("choose a directory that exists and can be written"))]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl InitError {
    /// The exit code: 2 when the arguments name a file that is there.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exists { .. } => 2,
            Self::Write { .. } => 1,
        }
    }
}

/// Writes the starter template, and says where on `out`.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn run(args: &InitArgs, out: &mut dyn Write) -> Result<(), InitError> {
    let is_file = args.path.extension().is_some_and(|ext| ext == "toml");
    let name = args.name.clone().unwrap_or_else(|| name_from(&args.path));
    let path = if is_file {
        args.path.clone()
    } else {
        let dir = args.path.strip_prefix(".").unwrap_or(&args.path);
        dir.join(format!("{name}.toml"))
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => InitError::Exists { path: path.clone() },
        _ => InitError::Write {
            path: path.clone(),
            source,
        },
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(failed)?;
    file.write_all(STARTER.replace("@NAME@", &name).as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|source| {
            // Half a template under its name would stop the next try.
            let _ = std::fs::remove_file(&path);
            failed(source)
        })?;
    writeln!(out, "{}", path.display()).map_err(failed)
}

/// The file's stem or the directory's own name, in the letters that an image's name may have.
fn name_from(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let stem = absolute.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    match name.trim_matches('-') {
        "" => FALLBACK_NAME.to_owned(),
        name => name.to_owned(),
    }
}

fn image_name(text: &str) -> Result<String, String> {
    let valid = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if valid {
        Ok(text.to_owned())
    } else {
        Err("names are made of a-z, 0-9 and -, and do not start with -".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_from_the_path() {
        for (path, expected) in [
            ("/srv/Web Server.toml", "web-server"),
            ("/srv/images", "images"),
            ("/", "image"),
            ("/srv/...toml", "image"),
        ] {
            assert_eq!(name_from(Path::new(path)), expected, "{path}");
        }
    }
}
