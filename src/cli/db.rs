//! `karat db`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::CommandError;
use super::shared::stdout::{OutputFormat, Stdout};
use crate::digest::Digest;
use crate::fetch;
use crate::os::environment;
use crate::scan::vulnerability::DbError;
use crate::scan::vulnerability::database::{Database, Head, SourceStats};
use crate::scan::vulnerability::import::{self, ImportSource, Imported};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Create or inspect the vulnerability database
#[derive(Clone, Debug, Args)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    verb: DbVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum DbVerb {
    /// Create the database from vulnerability records
    ///
    /// A source is a set of OSV records (the `all.zip` of an ecosystem, a directory of JSON files, or one JSON file), the
    /// JSON of Debian's security tracker, or a list from debian-security-support. The new database replaces the old one and
    /// merges all sources; the newest version of a record wins.
    Import(ImportArgs),
    /// Show the contents and the age of the database
    Status(StatusArgs),
}

#[derive(Clone, Debug, Args)]
struct ImportArgs {
    /// Sources to import
    #[arg(required = true, value_name = "FILE|DIR|URL")]
    sources: Vec<String>,

    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Debug, Args)]
struct StatusArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Debug, Args)]
struct DatabaseArgs {
    /// Use this vulnerability database [default: karat/vulnerabilities.db in the XDG data directory]
    #[arg(long, value_name = "PATH", env = environment::DB.name, hide_env_values = true)]
    db: Option<PathBuf>,
}

impl DatabaseArgs {
    /// Returns the path of the database, which need not exist.
    fn path(&self) -> Result<PathBuf, DbError> {
        match &self.db {
            Some(path) => Ok(path.clone()),
            None => Database::of_user(),
        }
    }
}

pub(crate) async fn run(args: &DbArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    match &args.verb {
        DbVerb::Import(args) => import(args, ui).await,
        DbVerb::Status(args) => status(args, out),
    }
}

async fn import(args: &ImportArgs, ui: &Ui) -> Result<(), CommandError> {
    let path = args.database.path()?;
    // Removes the downloads at the end.
    let scratch = tempfile::tempdir()
        .map_err(|error| CommandError::io("cannot create a temporary directory", &error))?;
    let mut origins = Vec::new();
    for (number, source) in args.sources.iter().enumerate() {
        let path = if source.starts_with("http://") || source.starts_with("https://") {
            download(source, &scratch.path().join(number.to_string())).await?
        } else {
            PathBuf::from(source)
        };
        let name = source.clone();
        origins.push(ImportSource { name, path });
    }
    let target = path.clone();
    let work = move || import::import(&origins, &target, Timestamp::now());
    let imported = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CommandError::io("the import did not finish", &error.into()))??;
    report(ui, &path, &imported);
    Ok(())
}

/// Downloads a source into a directory, under its own name, by which the import may recognize its format.
async fn download(url: &str, directory: &Path) -> Result<PathBuf, DbError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| DbError::Fetch {
        url: url.to_owned(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(error.into()))?;
    let name = url
        .split(['?', '#'])
        .next()
        .and_then(|url| url.rsplit('/').next())
        .filter(|name| !name.is_empty() && !name.starts_with('.'));
    let path = directory.join(name.unwrap_or("source"));
    fetch::download_unverified(url, &path)
        .await
        .map_err(|error| failed(error.into()))?;
    Ok(path)
}

fn report(ui: &Ui, path: &Path, imported: &Imported) {
    for source in &imported.sources {
        if source.skipped > 0 {
            ui.note(&format!(
                "{}: skipped {} of {} records, whose ecosystems are not supported",
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

#[derive(Serialize)]
struct Status<'a> {
    path: String,
    digest: Digest,
    size: usize,
    date: Timestamp,
    imported: Timestamp,
    records: usize,
    releases: Vec<ReleaseLine<'a>>,
    sources: &'a [SourceStats],
}

#[derive(Serialize)]
struct ReleaseLine<'a> {
    name: &'a str,
    records: usize,
    packages: usize,
    support: usize,
}

fn status(args: &StatusArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let path = args.database.path()?;
    let database = Database::open(&path)?;
    let head = database.head();
    let status = Status {
        path: path.display().to_string(),
        digest: database.digest(),
        size: database.size(),
        date: head.date,
        imported: head.imported,
        records: head.records,
        releases: releases(head),
        sources: &head.sources,
    };
    out.document(OutputFormat::new(args.json), &status, || text(&status))
}

fn releases(head: &Head) -> Vec<ReleaseLine<'_>> {
    let releases = head.releases.iter();
    releases
        .map(|release| ReleaseLine {
            name: &release.name,
            records: release.records,
            packages: release.packages,
            support: release.support.len(),
        })
        .collect()
}

fn text(status: &Status<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "path      {}", status.path);
    let _ = writeln!(text, "digest    {}", status.digest);
    let _ = writeln!(text, "date      {}", status.date);
    let _ = writeln!(text, "imported  {}", status.imported);
    let _ = writeln!(text, "records   {}", status.records);
    let width = status.releases.iter().map(|line| line.name.len()).max();
    let width = width.unwrap_or_default().max("RELEASE".len());
    let _ = writeln!(
        text,
        "\n{:width$}  {:>8}  {:>8}",
        "RELEASE", "RECORDS", "PACKAGES"
    );
    for line in &status.releases {
        let _ = writeln!(
            text,
            "{:width$}  {:>8}  {:>8}",
            line.name, line.records, line.packages
        );
    }
    text
}
