//! `karat scan`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use miette::Diagnostic;
use serde::Serialize;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExistingOutput, ExitStatus, VariableArgs};
use crate::os::atomic_file;
use crate::os::environment;
use crate::os::hash_stream;
use crate::plan::{self, Policy};
use crate::record::manifest::ManifestId;
use crate::scan::Severity;
use crate::scan::report::policy::{JudgeContext, judge};
use crate::scan::report::{Json, Report, Subject};
use crate::scan::report::{sbom, vex};
use crate::scan::run::{self, Check, Contents, ScanRequest, ScanResult};
use crate::scan::vulnerability::{Database, DbError, Options};
use crate::secret::Secrets;
use crate::time::Timestamp;
use crate::ui::Ui;

mod target;

use target::Target;

/// Exit code when the policy refuses the image.
const REFUSED: u8 = 3;
/// Permissions of report files: readable by everyone who can read the image.
const REPORT_MODE: u32 = 0o644;

/// Scan a disk image, an unpacked root or a recorded image
///
/// Reads the disk offline, without running anything from it. Finds known vulnerabilities of packages, clean-up residue,
/// weaknesses, secrets and modified package files. Applies a policy: that of the template given with --policy, or no fixable
/// vulnerabilities of severity high or above, no weaknesses of severity high or above, no secrets. Fails with exit code 3 if the
/// policy refuses the image.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// Image file (qcow2, raw, vmdk, vhd), directory, or a recorded image (4 or more digits of its id, NAME, NAME@latest, or a channel)
    #[arg(value_name = "IMAGE|DIR|ID")]
    target: PathBuf,

    /// Use this vulnerability database
    #[arg(long, value_name = "PATH", env = environment::DB.name, hide_env_values = true)]
    db: Option<PathBuf>,

    /// Skip a check; may be repeated
    #[arg(long, value_enum, value_name = "CHECK")]
    without: Vec<Check>,

    #[command(flatten)]
    format: FormatArgs,

    /// Also write the report to this file as SARIF 2.1.0
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    sarif: Option<PathBuf>,

    /// Write an SBOM to this file
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    sbom: Option<PathBuf>,

    /// Format of the SBOM
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        requires = "sbom",
        help_heading = "Reports"
    )]
    sbom_format: SbomFormat,

    /// Fail from this severity on: critical, high, medium, low or negligible (overrides the policy)
    #[arg(long, value_name = "SEVERITY", value_parser = plan::severity, help_heading = "Policy")]
    fail_on: Option<Severity>,

    /// Apply the policy of this template
    #[arg(
        long,
        visible_alias = "template",
        value_name = "TEMPLATE",
        help_heading = "Policy"
    )]
    policy: Option<PathBuf>,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten, next_help_heading = "Policy")]
    variables: VariableArgs,

    /// Report of an earlier scan (--format json) to compare with, for a policy with `new_only`
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    against: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum SbomFormat {
    /// CycloneDX 1.6
    #[default]
    Cyclonedx,
    /// SPDX 2.3
    Spdx,
}

/// The arguments are invalid.
#[derive(Debug, Error, Diagnostic)]
enum ArgumentError {
    #[error("{} is not a file, a directory or a recorded image", .0.display())]
    #[diagnostic(help("list the recorded images with `karat list`"))]
    UnknownTarget(PathBuf),
    #[error("{} is not a report of `karat scan --format json`", path.display())]
    NotAReport {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl ExitStatus for ArgumentError {
    const EXIT_CODE: u8 = 2;
}

struct ScanOutcome {
    subject: sbom::Subject,
    scanned: ScanResult,
    report: Report,
    /// Id of a recorded image.
    id: Option<ManifestId>,
}

/// Scans the target and prints the report. Returns the exit code.
pub(crate) async fn run(
    args: &ScanArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<u8, CommandError> {
    let Some(outcome) = cancel.run_until_cancelled(scan(args, ui)).await else {
        return Ok(130);
    };
    let outcome = outcome?;
    write_files(args, &outcome)?;
    if let Some(id) = outcome.id {
        record(args, id, &outcome)
            .await
            .map_err(|error| error.with_exit_code(1))?;
    }
    let format = args.format.with_json_as(OutputFormat::Json);
    let report = &outcome.report;
    out.document(format, &report.json(), || report.text())?;
    let is_refused = outcome.report.failing().next().is_some();
    Ok(if is_refused { REFUSED } else { 0 })
}

async fn scan(args: &ScanArgs, ui: &Ui) -> Result<ScanOutcome, CommandError> {
    let (policy, values) = policy(args, ui)?;
    let statements = vex::read(&policy.vex)?;
    let before = args.against.as_deref().map(finding_keys).transpose()?;
    let now = Timestamp::now();
    let stored = target::stored(args)?;
    let database = if args.without.contains(&Check::Vulnerabilities) {
        Ok(None)
    } else {
        database(args.db.as_deref()).map(Some)
    };
    // A wrong target is reported before an unusable database.
    let (target, subject, id) = target::open(args, stored).await?;
    let database = database?;
    let facts = database.as_ref().map(run::facts);
    let left_out = target::left_out(args, &target);
    let options = Options {
        max_age: policy.max_db_age,
        ..Options::at(now)
    };
    let scanned = hash_stream::blocking(move |_| {
        let wanted = ScanRequest {
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
    })
    .await?;
    let given = JudgeContext {
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
    Ok(ScanOutcome {
        report: Report::new(about, &scanned, facts, findings),
        subject,
        scanned,
        id,
    })
}

/// Returns the policy, and the values of the template's secrets.
fn policy(args: &ScanArgs, ui: &Ui) -> Result<(Policy, Secrets), CommandError> {
    let (mut policy, mut values) = (Policy::default(), Secrets::default());
    if let Some(template) = &args.policy {
        let inputs = args.variables.inputs(ExistingOutput::Accept);
        let plan = plan::load(template, &inputs)?;
        policy = plan.policy;
        if !args.without.contains(&Check::Secrets) {
            values = plan::secrets::read(&plan.secrets, |name| std::env::var_os(name))?;
            ui.hide(&values);
        }
    }
    if let Some(severity) = args.fail_on {
        policy.fail_on = severity;
    }
    Ok((policy, values))
}

/// Returns the keys of the findings in an earlier report.
fn finding_keys(path: &Path) -> Result<BTreeSet<String>, CommandError> {
    let invalid = |source| ArgumentError::NotAReport {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read(path).map_err(|error| {
        CommandError::io(&format!("cannot read {}", path.display()), &error).with_exit_code(2)
    })?;
    let report: Json = serde_json::from_slice(&text).map_err(invalid)?;
    Ok(report.keys().map_err(invalid)?)
}

fn database(path: Option<&Path>) -> Result<Database, DbError> {
    match path {
        Some(path) => Database::open(path),
        None => Database::open(&Database::of_user()?),
    }
}

/// Writes the SARIF report and the SBOM.
fn write_files(args: &ScanArgs, outcome: &ScanOutcome) -> Result<(), CommandError> {
    if let Some(path) = &args.sarif {
        write_json(path, &outcome.report.sarif())?;
    }
    if let Some(path) = &args.sbom {
        let render = match args.sbom_format {
            SbomFormat::Cyclonedx => sbom::cyclonedx,
            SbomFormat::Spdx => sbom::spdx_2_3,
        };
        let Contents {
            inventory,
            licenses,
        } = &outcome.scanned.contents;
        write_json(path, &render(&outcome.subject, inventory, licenses))?;
    }
    Ok(())
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CommandError::io("cannot write JSON", &error.into()))?;
    atomic_file::write(path, REPORT_MODE, (text + "\n").as_bytes())
        .map_err(|error| CommandError::io(&format!("cannot write {}", path.display()), &error))
}

/// Stores the result beside the manifest, which it does not change.
async fn record(
    args: &ScanArgs,
    id: ManifestId,
    outcome: &ScanOutcome,
) -> Result<(), CommandError> {
    let writing = args.store.open()?.begin().await?;
    writing.add_scan(
        id,
        &outcome.subject,
        &outcome.scanned.contents,
        &outcome.report,
    )?;
    Ok(())
}
