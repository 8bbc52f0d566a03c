//! `karat db`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Failed;
use crate::digest::Digest;
use crate::fetch;
use crate::scan::vulnerability::DbError;
use crate::scan::vulnerability::database::{Database, Head};
use crate::scan::vulnerability::import::{self, Imported, Origin};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Make or show the database of known vulnerabilities
#[derive(Clone, Debug, Args)]
pub struct DbArgs {
    #[command(subcommand)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub verb: DbVerb,
}

/// What to do with it.
#[derive(Clone, Debug, Subcommand)]
pub enum DbVerb {
    /// Make the database from records of vulnerabilities
    ///
    /// Each source is OSV records (the `all.zip` of an ecosystem, a directory of JSON files, one JSON file), the JSON of
    /// Debian's security tracker, or a list of debian-security-support. The new database replaces the old one, and has
    /// what all sources together have; of several versions of a record the newest counts.
    Import(ImportArgs),
    /// Show what the database knows, and how old it is
    Status(StatusArgs),
}

/// Which sources.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Import these
    #[arg(required = true, value_name = "FILE|DIR|URL")]
    pub sources: Vec<String>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub place: PlaceArgs,
}

/// Which form.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub place: PlaceArgs,
}

/// Which database, for every verb that uses one.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Use this database of vulnerabilities [default: karat/vulnerabilities.db in the XDG data directory]
    #[arg(long, value_name = "PATH", env = "KARAT_DB", hide_env_values = true)]
    pub db: Option<PathBuf>,
}

impl PlaceArgs {
    /// Where the database is, or will be.
    ///
    /// # Errors
    /// None was given and the environment names no place.
    pub fn path(&self) -> Result<PathBuf, DbError> {
        match &self.db {
            Some(path) => Ok(path.clone()),
            None => Database::of_user(),
        }
    }
}

/// Does what was asked for.
///
/// # Errors
/// A source cannot be had or understood, or the database cannot be written or read.
pub async fn run(
    args: &DbArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    match &args.verb {
        DbVerb::Import(args) => {
            let work = cancel.run_until_cancelled(import(args, ui));
            work.await.map_or(Ok(130), |done| done.map(|()| 0))
        }
        DbVerb::Status(args) => status(args, out).map(|()| 0),
    }
}

async fn import(args: &ImportArgs, ui: &Ui) -> Result<(), Failed> {
    let path = args.place.path().map_err(failed)?;
    // Removed with all that was fetched when the import is over.
    let scratch = tempfile::tempdir()
        .map_err(|error| Failed::io("cannot make a scratch directory", error))?;
    let mut origins = Vec::new();
    for (number, source) in args.sources.iter().enumerate() {
        let path = if source.starts_with("http://") || source.starts_with("https://") {
            fetched(source, &scratch.path().join(number.to_string()))
                .await
                .map_err(failed)?
        } else {
            PathBuf::from(source)
        };
        let name = source.clone();
        origins.push(Origin { name, path });
    }
    let target = path.clone();
    let work = move || import::import(&origins, &target, Timestamp::now());
    let done = tokio::task::spawn_blocking(work).await;
    let imported = done
        .map_err(|error| Failed::io("the import was ended", error.into()))?
        .map_err(failed)?;
    say(ui, &path, &imported);
    Ok(())
}

/// Fetches a source into a directory, under its own name, which may say what it is.
async fn fetched(url: &str, directory: &Path) -> Result<PathBuf, DbError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| DbError::Fetch {
        url: url.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(error.into()))?;
    let name = url.split(['?', '#']).next().unwrap_or_default();
    let name = name
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty() && !name.starts_with('.'));
    let path = directory.join(name.unwrap_or("source"));
    fetch::plainly(url, &path)
        .await
        .map_err(|error| failed(error.into()))?;
    Ok(path)
}

fn say(ui: &Ui, path: &Path, imported: &Imported) {
    for source in &imported.sources {
        if source.skipped > 0 {
            ui.note(&format!(
                "{}: {} of {} records are of ecosystems that cannot be checked",
                source.name, source.skipped, source.records
            ));
        }
    }
    ui.note(&format!(
        "{} records in {}",
        imported.records,
        path.display()
    ));
}

/// What is shown as JSON.
#[derive(Serialize)]
struct Status<'a> {
    path: String,
    digest: Digest,
    size: usize,
    date: Timestamp,
    imported: Timestamp,
    records: usize,
    releases: Vec<Line<'a>>,
    sources: &'a [crate::scan::vulnerability::database::Source],
}

/// One release.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    records: usize,
    packages: usize,
    support: usize,
}

fn status(args: &StatusArgs, out: &mut dyn Write) -> Result<(), Failed> {
    let path = args.place.path().map_err(failed)?;
    let database = Database::open(&path).map_err(failed)?;
    let head = database.head();
    let status = Status {
        path: path.display().to_string(),
        digest: database.digest(),
        size: database.size(),
        date: head.date,
        imported: head.imported,
        records: head.records,
        releases: lines(head),
        sources: &head.sources,
    };
    let printed = if args.json {
        serde_json::to_writer_pretty(&mut *out, &status)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&status, out)
    };
    printed.and_then(|()| out.flush()).map_err(Failed::stdout)
}

fn lines(head: &Head) -> Vec<Line<'_>> {
    let releases = head.releases.iter();
    releases
        .map(|release| Line {
            name: &release.name,
            records: release.records,
            packages: release.packages,
            support: release.support.len(),
        })
        .collect()
}

fn print(status: &Status<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "path      {}", status.path)?;
    writeln!(out, "digest    {}", status.digest)?;
    writeln!(out, "date      {}", status.date)?;
    writeln!(out, "imported  {}", status.imported)?;
    writeln!(out, "records   {}", status.records)?;
    writeln!(out)?;
    let width = status.releases.iter().map(|line| line.name.len()).max();
    let width = width.unwrap_or_default().max("RELEASE".len());
    writeln!(
        out,
        "{:width$}  {:>8}  {:>8}",
        "RELEASE", "RECORDS", "PACKAGES"
    )?;
    for line in &status.releases {
        writeln!(
            out,
            "{:width$}  {:>8}  {:>8}",
            line.name, line.records, line.packages
        )?;
    }
    Ok(())
}

/// What the user gave is wrong (2), or something failed (1).
fn failed(error: DbError) -> Failed {
    let code = match &error {
        DbError::Import { .. } | DbError::Missing { .. } | DbError::NoPlace => 2,
        DbError::Read { .. }
        | DbError::Write { .. }
        | DbError::Damaged { .. }
        | DbError::Fetch { .. } => 1,
    };
    Failed::with(code, error)
}
