//! `karat init`

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;

use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::{CommandError, ExitStatus, schema};
use crate::plan::is_plain_name;

const STARTER: &str = include_str!("starter.toml");
const FALLBACK_NAME: &str = "image";
/// File that the first line of the starter names.
const SCHEMA_FILE: &str = "karat.schema.json";

/// Create a template to start from
///
/// Never overwrites a file. Also writes the JSON schema that editors check the template with: karat.schema.json beside it.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitArgs {
    /// File to create (`NAME.toml`), or the directory to create it in
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    path: PathBuf,

    /// Name of the image [default: derived from the path]
    #[arg(long, value_parser = image_name)]
    name: Option<String>,

    #[command(flatten)]
    format: FormatArgs,
}

/// The template was not written.
#[derive(Debug, Error, Diagnostic)]
enum InitError {
    #[error("{} exists already", path.display())]
    #[diagnostic(help("choose another path: `karat init other.toml`"))]
    Exists { path: PathBuf },
    #[error("{} is not the name of a TOML file", path.display())]
    #[diagnostic(help("karat's templates are TOML: `karat init {}`", path.with_extension("toml").display()))]
    NotToml { path: PathBuf },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("choose an existing, writable directory"))]
    Write { path: PathBuf, source: io::Error },
}

impl ExitStatus for InitError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Exists { .. } | Self::NotToml { .. } => 2,
            Self::Write { .. } => 1,
        }
    }
}

/// Writes the starter template, and prints its path.
pub(crate) fn run(args: &InitArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let is_file = args.path.extension().is_some_and(|ext| ext == "toml");
    let has_other_extension = !is_file && args.path.extension().is_some();
    if has_other_extension && !args.path.is_dir() {
        let path = args.path.clone();
        return Err(InitError::NotToml { path }.into());
    }
    let name = args.name.clone().unwrap_or_else(|| name_from(&args.path));
    let path = if is_file {
        args.path.clone()
    } else {
        let dir = args.path.strip_prefix(".").unwrap_or(&args.path);
        dir.join(format!("{name}.toml"))
    };
    write(&path, &name).map_err(|source| {
        let path = path.clone();
        match source.kind() {
            io::ErrorKind::AlreadyExists => InitError::Exists { path },
            _ => InitError::Write { path, source },
        }
    })?;
    let path = path.display().to_string();
    let line = json!({"template": path, "name": name});
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &line, || format!("{path}\n"))
}

fn write(path: &Path, name: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    write_new(path, STARTER.replace("@NAME@", name).as_bytes())?;
    match write_new(&path.with_file_name(SCHEMA_FILE), schema::text().as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // The next `karat init` may write both.
            let _ = std::fs::remove_file(path);
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Writes a new file, or leaves none.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Derives an image name from the stem of a file or the name of a directory.
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
    if is_plain_name(text) {
        Ok(text.to_owned())
    } else {
        Err("use a-z, 0-9 and -, and do not start with -".to_owned())
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
