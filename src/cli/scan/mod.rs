//! `karat scan`

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use miette::Diagnostic;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::shared::store_args::StoreArgs;
use super::{Failed, Invalid, VariableArgs};
use crate::os::atomic_file;
use crate::os::hash_stream;
use crate::plan::{self, Policy};
use crate::record::manifest::ManifestId;
use crate::scan::Severity;
use crate::scan::report::policy::{Given, judge};
use crate::scan::report::{Json, Report, Subject};
use crate::scan::report::{sbom, vex};
use crate::scan::run::{self, Check, Contents, Scanned, Wanted};
use crate::scan::vulnerability::{Database, DbError, Options};
use crate::secret::Secrets;
use crate::template;
use crate::time::Timestamp;
use crate::ui::Ui;

mod target;

use target::Target;

/// Exit code when the policy says no.
const REFUSED: u8 = 3;
/// Reports may be read by anybody who may read the image.
const MODE: u32 = 0o644;

/// Scan a disk image, an unpacked root or a recorded image
///
/// Reads the disk itself, offline; nothing of it is run. Finds known vulnerabilities of its packages, left-overs and
/// weaknesses, secrets, and packaged files that were changed, and judges them by a policy: that of the template given
/// with --policy, or no fixable vulnerabilities of severity high or above, no weaknesses of severity high or above, no
/// secrets.
///
/// Exit codes: 0 nothing that the policy forbids, 1 a check could not do its work, 2 the arguments are wrong, 3 the policy
/// says no, 130 cancelled.
#[derive(Debug, Args)]
pub struct ScanArgs {
    /// An image file (qcow2, raw, vmdk, vhd), a directory, or the id of a recorded image (its first 8 digits or more)
    #[arg(value_name = "IMAGE|DIR|ID")]
    target: PathBuf,

    /// Use this vulnerability database
    #[arg(long, value_name = "PATH", env = "KARAT_DB", hide_env_values = true)]
    db: Option<PathBuf>,

    /// Leave a check out; may be given several times
    #[arg(long, value_enum, value_name = "CHECK")]
    without: Vec<Check>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Write the report to this file as SARIF 2.1.0, too
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,

    /// Write a bill of materials to this file
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,

    /// Form of the bill of materials
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        requires = "sbom"
    )]
    sbom_format: SbomFormat,

    /// Fail from this severity on: critical, high, medium, low or negligible (wins over the policy)
    #[arg(long, value_name = "SEVERITY", value_parser = plan::severity)]
    fail_on: Option<Severity>,

    /// Judge by the policy of this template
    #[arg(long, visible_alias = "template", value_name = "TEMPLATE")]
    policy: Option<PathBuf>,

    #[command(flatten)]
    variables: VariableArgs,

    /// Compare with this report (of --json), for a policy with `new_only`
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// A form of bills of materials.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum SbomFormat {
    /// CycloneDX 1.6
    #[default]
    Cyclonedx,
    /// SPDX 2.3
    Spdx,
}

/// Why a scan cannot be made as the arguments want it.
#[derive(Debug, Error, Diagnostic)]
enum Wrong {
    #[error("there is no file, directory or recorded image {}", .0.display())]
    #[diagnostic(help("see `karat list` for recorded images"))]
    NoTarget(PathBuf),
    #[error("{} is no report of `karat scan --json`", path.display())]
    NoReport {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// What was scanned, and what came of it.
struct Done {
    subject: sbom::Subject,
    scanned: Scanned,
    report: Report,
    id: Option<ManifestId>,
}

/// Scans, prints, and returns the exit code.
///
/// # Errors
/// A check cannot do its work, or the arguments are wrong.
pub async fn run(
    args: &ScanArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let Some(done) = cancel.run_until_cancelled(scanned(args, ui)).await else {
        return Ok(130);
    };
    let done = done?;
    let text = if args.json {
        pretty(&done.report.json())?
    } else {
        done.report.text()
    };
    write_files(args, &done)?;
    if let Some(id) = done.id {
        remember(args, id, &done).await?;
    }
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(Failed::stdout)?;
    Ok(if done.report.failing().next().is_some() {
        REFUSED
    } else {
        0
    })
}

async fn scanned(args: &ScanArgs, ui: &Ui) -> Result<Done, Failed> {
    let (policy, values) = policy(args, ui)?;
    let statements = vex::read(&policy.vex).map_err(Failed::new)?;
    let before = args.against.as_deref().map(before).transpose()?;
    let now = Timestamp::now();
    // Whatever is wrong with the database is said before a large image is read.
    let database = if args.without.contains(&Check::Vulnerabilities) {
        None
    } else {
        Some(database(args.db.as_deref()).map_err(Failed::new)?)
    };
    let facts = database.as_ref().map(run::facts);
    let (target, subject, id) = target::open(args).await?;
    let left_out = target::left_out(args, &target);
    let options = Options {
        max_age: policy.max_db_age,
        ..Options::at(now)
    };
    let work = hash_stream::blocking(move |_| {
        let wanted = Wanted {
            left_out,
            database: database.as_ref(),
            options,
            origin: match &target {
                Target::Opened(_, origin) => origin.as_deref(),
                Target::Contents(_) => None,
            },
            values: &values,
        };
        match &target {
            Target::Opened(opened, _) => run::scan(opened, wanted),
            Target::Contents(contents) => run::scan_contents(contents.clone(), wanted),
        }
    });
    let scanned = work.await.map_err(Failed::new)?;
    let given = Given {
        statements: &statements,
        before,
        whole: args.without.is_empty() && scanned.left_out.is_empty(),
    };
    let findings = judge(&policy, scanned.findings.clone(), &given, now);
    let about = Subject {
        name: subject.name.clone(),
        id: id.map(|id| id.to_string()),
        digest: subject.digest,
    };
    Ok(Done {
        report: Report::new(about, &scanned, facts, findings),
        subject,
        scanned,
        id,
    })
}

/// The policy, and the values of the template's own secrets.
fn policy(args: &ScanArgs, ui: &Ui) -> Result<(Policy, Secrets), Failed> {
    let (mut policy, mut values) = (Policy::default(), Secrets::default());
    if let Some(template) = &args.policy {
        let mut inputs = args.variables.inputs();
        // The image that the template makes may be there already.
        inputs.force = true;
        let plan = template::load(template, &inputs).map_err(|error| Invalid(vec![error]))?;
        policy = plan.policy;
        if !args.without.contains(&Check::Secrets) {
            values = plan::secrets::read(&plan.secrets, |name| std::env::var_os(name))
                .map_err(|error| Failed::with(2, error))?;
            ui.hide(&values);
        }
    }
    if let Some(severity) = args.fail_on {
        policy.fail_on = severity;
    }
    Ok((policy, values))
}

fn before(path: &Path) -> Result<BTreeSet<String>, Failed> {
    let error = |source| {
        Failed::with(
            2,
            Wrong::NoReport {
                path: path.to_owned(),
                source,
            },
        )
    };
    let text = std::fs::read(path)
        .map_err(|error| Failed::io(&format!("cannot read {}", path.display()), error))?;
    let report: Json = serde_json::from_slice(&text).map_err(error)?;
    report.keys().map_err(error)
}

fn database(path: Option<&Path>) -> Result<Database, DbError> {
    match path {
        Some(path) => Database::open(path),
        None => Database::open(&Database::of_user()?),
    }
}

/// The files that were asked for.
fn write_files(args: &ScanArgs, done: &Done) -> Result<(), Failed> {
    let mut files = Vec::new();
    if let Some(path) = &args.sarif {
        files.push((path, pretty(&done.report.sarif())?));
    }
    if let Some(path) = &args.sbom {
        let write = match args.sbom_format {
            SbomFormat::Cyclonedx => sbom::cyclonedx,
            SbomFormat::Spdx => sbom::spdx_2_3,
        };
        let Contents {
            inventory,
            licenses,
        } = &done.scanned.contents;
        files.push((path, pretty(&write(&done.subject, inventory, licenses))?));
    }
    for (path, text) in files {
        let failed = |error| Failed::io(&format!("cannot write {}", path.display()), error);
        atomic_file::write(path, MODE, text.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// Puts the result beside the manifest; never into it.
async fn remember(args: &ScanArgs, id: ManifestId, done: &Done) -> Result<(), Failed> {
    let store = args.store.open().map_err(Failed::new)?;
    let writing = store.begin().await.map_err(Failed::new)?;
    let added = writing.add_scan(id, &done.subject, &done.scanned.contents, &done.report);
    added.map(drop).map_err(Failed::new)
}

fn pretty(value: &impl serde::Serialize) -> Result<String, Failed> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Failed::io("cannot write JSON", error.into()))?;
    Ok(text + "\n")
}
