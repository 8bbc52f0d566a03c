//! `karat db`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;

use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::{CommandError, ExitStatus};
use crate::digest::Digest;
use crate::fetch::{Cache, Validators};
use crate::os::environment;
use crate::plan::{Base, Builder, DatabaseUpdates, Plan};
use crate::scan::vulnerability::database::{Database, Head, SourceStats};
use crate::scan::vulnerability::feed::{self, FeedSource, InvalidFeedSource};
use crate::scan::vulnerability::import::{self, ImportSource, Imported};
use crate::scan::vulnerability::update::{self, MAX_FEED_BYTES, UpdateRequest, Updated};
use crate::scan::vulnerability::{DbError, is_older};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Create, update or inspect the vulnerability database
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
    /// Update the database from the published advisories of distributions
    ///
    /// Fetches the OSV records of each distribution, and Debian's security tracker. If no file has changed since the last update,
    /// nothing is downloaded. A failed update leaves the database as it is.
    Update(UpdateArgs),
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
struct UpdateArgs {
    /// Distributions to fetch besides those that the database has [default: all, if there is no database]
    #[arg(value_name = "DISTRIBUTION", value_parser = PossibleValuesParser::new(feed::distributions()))]
    distributions: Vec<String>,

    /// Fetch a feed from another address, such as `debian=https://mirror.example.org/all.zip`; may be repeated
    ///
    /// Feeds: debian, debian-tracker, ubuntu, almalinux, rocky, alpine. The environment variable `KARAT_DB_SOURCES` takes several,
    /// separated by spaces, which `--source` overrides.
    #[arg(long = "source", value_name = "NAME=URL")]
    sources: Vec<FeedSource>,

    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct DatabaseArgs {
    /// Use this vulnerability database [default: karat/vulnerabilities.db in the XDG data directory]
    #[arg(long, value_name = "PATH", env = environment::DB.name, hide_env_values = true)]
    db: Option<PathBuf>,
}

impl DatabaseArgs {
    /// Returns the path of the database, which need not exist.
    pub(super) fn path(&self) -> Result<PathBuf, DbError> {
        match &self.db {
            Some(path) => Ok(path.clone()),
            None => Database::of_user(),
        }
    }
}

pub(crate) async fn run(args: &DbArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    match &args.verb {
        DbVerb::Import(args) => import(args, ui).await,
        DbVerb::Update(args) => update(args, ui).await,
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
        let mut origin = ImportSource::new(source, source);
        if source.starts_with("http://") || source.starts_with("https://") {
            let directory = scratch.path().join(number.to_string());
            (origin.path, origin.validators) = download(source, &directory, ui).await?;
        }
        origins.push(origin);
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
async fn download(
    url: &str,
    directory: &Path,
    ui: &Ui,
) -> Result<(PathBuf, Validators), CommandError> {
    let cache = Cache::of_user()?;
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
    let validators = cache
        .download_unverified(url, &path, MAX_FEED_BYTES, ui)
        .await
        .map_err(|error| failed(error.into()))?;
    Ok((path, validators))
}

async fn update(args: &UpdateArgs, ui: &Ui) -> Result<(), CommandError> {
    let path = args.database.path()?;
    let mut sources = sources_of_environment()?;
    sources.extend_from_slice(&args.sources);
    let request = UpdateRequest {
        database: &path,
        distributions: &args.distributions,
        sources: &sources,
        cache: &Cache::of_user()?,
    };
    run_update(&request, ui).await
}

async fn run_update(request: &UpdateRequest<'_>, ui: &Ui) -> Result<(), CommandError> {
    // No error is the fault of an argument.
    match update::update(request, ui)
        .await
        .map_err(CommandError::failure)?
    {
        Updated::Unchanged => {
            let path = request.database.display();
            ui.note(&format!("{path} is up to date"));
        }
        Updated::Imported(imported) => report(ui, request.database, &imported),
    }
    Ok(())
}

/// The environment names invalid addresses of feeds.
#[derive(Debug, Error, Diagnostic)]
#[error("invalid {}", environment::DB_SOURCES.name)]
#[diagnostic(help("write NAME=URL, several separated by spaces"))]
struct InvalidSources(#[source] InvalidFeedSource);

impl ExitStatus for InvalidSources {
    const EXIT_CODE: u8 = 2;
}

fn sources_of_environment() -> Result<Vec<FeedSource>, InvalidSources> {
    let text = std::env::var(environment::DB_SOURCES.name).unwrap_or_default();
    let sources = text.split_whitespace().map(str::parse);
    sources.collect::<Result<_, _>>().map_err(InvalidSources)
}

/// Updates the database before a build whose template has `db = "auto"`, if it is missing or older than the template allows.
pub(super) async fn update_before_build(
    plans: &[Plan],
    database: Option<&Path>,
    cache: &Cache,
    ui: &Ui,
) -> Result<(), CommandError> {
    let is_auto = |plan: &&Plan| plan.policy.db == DatabaseUpdates::Auto && scans(plan);
    let plans: Vec<_> = plans.iter().filter(is_auto).collect();
    if plans.is_empty() {
        return Ok(());
    }
    let path = match database {
        Some(path) => path.to_owned(),
        None => Database::of_user()?,
    };
    let max_age = plans.iter().filter_map(|plan| plan.policy.max_db_age).min();
    let needed = plans.iter().filter_map(|plan| match &plan.base {
        Some(Base::Bootstrap(base)) => Some(base.distribution.clone()),
        _ => None,
    });
    let needed: Vec<String> = needed.collect();
    let reason = match Database::open(&path) {
        Ok(database) => match reason_to_update(database.head(), &needed, max_age) {
            Some(reason) => reason,
            None => return Ok(()),
        },
        Err(DbError::Missing { .. }) => "it is missing".to_owned(),
        Err(error) => return Err(error.into()),
    };
    ui.note(&format!("updating the vulnerability database: {reason}"));
    let request = UpdateRequest {
        database: &path,
        distributions: &needed,
        sources: &sources_of_environment()?,
        cache,
    };
    run_update(&request, ui).await
}

/// Returns the reason why a database does not suffice; `None` if it does.
fn reason_to_update(head: &Head, needed: &[String], max_age: Option<Duration>) -> Option<String> {
    if max_age.is_some_and(|max_age| is_older(head.date, Timestamp::now(), max_age)) {
        return Some(format!("it is of {}", head.date));
    }
    let has = feed::distributions_in(head);
    let missing = needed.iter().find(|name| !has.contains(name))?;
    Some(format!("it has no records of {missing}"))
}

/// Returns whether a build of the plan makes an image, which is scanned.
fn scans(plan: &Plan) -> bool {
    !matches!(plan.builder, Builder::Host(_))
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
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &status, || text(&status))
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
