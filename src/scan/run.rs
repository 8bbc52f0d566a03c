//! Runs all checks on one system.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::boot_chain::{self, Installation};
use super::boot_files::{self, BootTrees};
use super::integrity::{LockedPackage, Trusted};
use super::inventory::{self, Inventory};
use super::report::licenses::{self, Licenses};
use super::report::policy::Kind;
use super::report::{DatabaseFacts, LeftOut};
use super::undeclared::{self, Declared, ObservedState, StepTrees, Trees};
use super::vulnerability::{self, Database, Options};
use super::{Finding, Opened, Packaged, Root, ScanError, hygiene, integrity, secrets};
use crate::digest::Digest;
use crate::disk::read::BlockRead;
use crate::record::explanation;
use crate::record::lock::{Lock, Manager};
use crate::record::manifest::{Action, Inputs};
use crate::secret::Secrets;

/// A check that a scan can skip.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Known vulnerabilities of packages
    Vulnerabilities,
    /// Leftovers, weak settings and modified package files
    Hygiene,
    /// Credentials in files, and the template's own secrets anywhere on the disk
    Secrets,
    /// Files, packages and accounts that the template does not declare
    Undeclared,
}

impl Check {
    /// Every check, in the order of reports.
    pub const ALL: [Self; 4] = [
        Self::Vulnerabilities,
        Self::Hygiene,
        Self::Secrets,
        Self::Undeclared,
    ];
}

/// The name on the command line.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Inputs of the build that made an image.
pub(crate) struct BuildOrigin {
    pub base: Opened,
    pub lock: Lock,
    /// All other inputs of the manifest.
    pub inputs: Inputs,
    /// [Listings](crate::record::directory_listing) of input directories, by digest.
    pub listings: HashMap<Digest, Vec<u8>>,
    /// Packages of the lock file that are at hand.
    pub packages: Vec<LockedPackage>,
    /// Trees before and after the steps; only the build itself has them.
    pub steps: Option<StepTrees>,
    /// Disk as the packages left it, if there are these trees.
    pub installed: Option<Arc<dyn BlockRead>>,
    /// True if each path is to be explained, for the record of the build.
    pub explain: bool,
}

impl BuildOrigin {
    /// Returns the destination and listing of every input directory.
    fn directories(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let steps = self.inputs.steps.iter();
        let steps = steps.filter_map(|step| match &step.action {
            Action::File(file) => Some(file),
            _ => None,
        });
        let files = self.inputs.files.iter().chain(steps);
        files.filter_map(|file| {
            let listing = self.listings.get(&file.digest)?;
            Some((file.destination.as_str(), listing.as_slice()))
        })
    }

    /// Returns whether all packages that karat reads are at hand.
    pub(crate) fn has_packages(&self) -> bool {
        self.lock.request.manager != Some(Manager::Apt)
            || self.packages.len() == self.lock.packages.len()
    }

    /// Collects the declarations that matter for an image with this state.
    fn declared(&self, image: &ObservedState) -> Result<Declared, ScanError> {
        let facts = ObservedState::collect_base(&self.base.root(), image)?;
        let mut declared = Declared::new(facts, Some(&self.lock), &self.inputs);
        for (destination, listing) in self.directories() {
            declared.narrow(destination, listing);
        }
        Ok(declared)
    }
}

/// Checks to run, and their inputs.
pub(crate) struct ScanRequest<'a> {
    /// Checks to skip, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Vulnerability database; required unless that check is skipped.
    pub database: Option<&'a Database>,
    /// Options of the vulnerability check.
    pub options: Options,
    /// Build inputs; required unless the check for undeclared content is skipped.
    pub origin: Option<&'a BuildOrigin>,
    /// Values of the template's secrets.
    pub values: &'a Secrets,
}

/// Installed packages and their licences, stored for later scans without the image.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Packages of the image.
    pub inventory: Inventory,
    /// Licences of the packages.
    pub licenses: Licenses,
}

/// Result of a scan before a policy judges the findings.
#[derive(Clone, Debug)]
pub(crate) struct ScanResult {
    /// Installed packages and their licences.
    pub contents: Contents,
    /// Findings of all checks.
    pub findings: Vec<(Kind, Finding)>,
    /// Skipped checks, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// [Explanation](crate::record::explanation) of the tree as it is stored, from the check for undeclared content.
    pub explanation: Option<Vec<u8>>,
}

impl ScanRequest<'_> {
    fn includes(&self, check: Check) -> bool {
        !self.left_out.iter().any(|skipped| skipped.check == check)
    }
}

/// Runs the requested checks on an opened system.
pub(crate) fn scan(opened: &Opened, request: ScanRequest<'_>) -> Result<ScanResult, ScanError> {
    let root = opened.root();
    let of_files = [Check::Hygiene, Check::Secrets, Check::Undeclared];
    let verify = || match request.origin {
        _ if !of_files.iter().any(|check| request.includes(*check)) => Ok(Packaged::default()),
        Some(origin) => {
            let trusted = Trusted {
                base: &origin.base.root(),
                packages: &origin.packages,
            };
            integrity::verify_trusted(&root, trusted)
        }
        None => integrity::verify(&root),
    };
    // Hashing files takes longest; checks that do not depend on it run meanwhile.
    let (packaged, read) = rayon::join(verify, || read(&root, &request));
    let (contents, mut findings) = read?;
    let packaged = packaged?;
    let origin = request
        .origin
        .filter(|_| request.includes(Check::Undeclared));
    if origin.is_none() && request.includes(Check::Hygiene) {
        findings.extend(of_kind(Kind::Hygiene, packaged.findings()));
        if let Some(disk) = opened.disk() {
            findings.extend(of_kind(Kind::Hygiene, boot_chain::check_foreign(disk)?));
        }
    }
    if let Some(origin) = origin {
        let declared = Declared::new(ObservedState::default(), None, &origin.inputs);
        findings.retain(|(_, finding)| !declared.settles(finding));
    }
    let (undeclared, secrets) = rayon::join(
        || {
            let compared = origin.map(|origin| undeclared(opened, &packaged, origin));
            compared.transpose()
        },
        || secret_findings(opened, &packaged, &request),
    );
    let (undeclared, explanation) = undeclared?.unwrap_or_default();
    // The check also reports entries of `accept` that settle nothing.
    let kind = |finding: &Finding| match finding.check.as_ref() {
        "unused-exception" => Kind::Policy,
        _ => Kind::Undeclared,
    };
    findings.extend(
        undeclared
            .into_iter()
            .map(|finding| (kind(&finding), finding)),
    );
    findings.extend(secrets?);
    Ok(ScanResult {
        contents,
        findings,
        left_out: request.left_out,
        explanation,
    })
}

fn of_kind(kind: Kind, found: Vec<Finding>) -> impl Iterator<Item = (Kind, Finding)> {
    found.into_iter().map(move |finding| (kind, finding))
}

/// Reads the installed packages and runs the checks that need no file checksums.
fn read(
    root: &Root<'_>,
    request: &ScanRequest<'_>,
) -> Result<(Contents, Vec<(Kind, Finding)>), ScanError> {
    let inventory = inventory::read(root)?;
    let mut findings = vulnerabilities(&inventory, request)?;
    if request.includes(Check::Hygiene) {
        findings.extend(of_kind(Kind::Hygiene, hygiene::check(root)?));
    }
    let licenses = licenses::read(root, &inventory)?;
    let contents = Contents {
        inventory,
        licenses,
    };
    Ok((contents, findings))
}

/// Returns the findings, and the explanation of the tree if it is wanted.
fn undeclared(
    opened: &Opened,
    packaged: &Packaged,
    origin: &BuildOrigin,
) -> Result<(Vec<Finding>, Option<Vec<u8>>), ScanError> {
    let root = opened.root();
    let now = ObservedState::collect(&root, packaged)?;
    let declared = origin.declared(&now)?;
    let trees = Trees {
        image: &root,
        base: &origin.base.root(),
        steps: origin.steps.as_ref(),
        explain: origin.explain,
    };
    let (mut findings, mut explanation) = undeclared::check(&trees, packaged, &now, &declared)?;
    let boot = BootTrees {
        image: &root,
        base: &origin.base.root(),
        before: origin.steps.as_ref().map(|steps| &steps.before.listing),
    };
    findings.extend(boot_files::check(&boot, packaged, &declared)?);
    if let (Some(image), Some(base)) = (opened.disk(), origin.base.disk()) {
        let installed = Installation {
            packages: &origin.lock.packages,
            disk: origin.installed.as_ref(),
        };
        let boot_chain = boot_chain::check(image, base, installed)?;
        findings.extend(boot_chain.findings);
        if let Some(explanation) = &mut explanation {
            let causes = boot_chain.causes.iter();
            let causes = causes.map(|(name, cause)| (name.as_bytes(), cause.clone()));
            explanation.extend(explanation::pack(causes).map_err(ScanError::Explain)?);
        }
    }
    Ok((findings, explanation))
}

fn secret_findings(
    opened: &Opened,
    packaged: &Packaged,
    request: &ScanRequest<'_>,
) -> Result<Vec<(Kind, Finding)>, ScanError> {
    if !request.includes(Check::Secrets) {
        return Ok(Vec::new());
    }
    let root = opened.root();
    let mut found = secrets::search_files(&root, &packaged.identical)?;
    if let Some(disk) = opened.disk() {
        found.extend(secrets::search_disk(&root, disk, request.values)?);
    }
    // The check also reports files that it could not search; those are no secrets.
    let kind = |finding: &Finding| match finding.check.as_ref() {
        "secret" => Kind::Secret,
        _ => Kind::Hygiene,
    };
    let found = found.into_iter();
    Ok(found.map(|finding| (kind(&finding), finding)).collect())
}

/// Checks the stored contents of an image. Without the image, only vulnerabilities can be found.
pub(crate) fn scan_contents(
    contents: Contents,
    request: ScanRequest<'_>,
) -> Result<ScanResult, ScanError> {
    Ok(ScanResult {
        findings: vulnerabilities(&contents.inventory, &request)?,
        contents,
        left_out: request.left_out,
        explanation: None,
    })
}

fn vulnerabilities(
    inventory: &Inventory,
    request: &ScanRequest<'_>,
) -> Result<Vec<(Kind, Finding)>, ScanError> {
    match request.database {
        Some(database) if request.includes(Check::Vulnerabilities) => {
            let found = vulnerability::check(inventory, database, &request.options)?;
            Ok(of_kind(Kind::Vulnerability, found).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// Describes a database for reports.
pub(crate) fn facts(database: &Database) -> DatabaseFacts {
    DatabaseFacts {
        digest: database.digest().to_string(),
        date: database.head().date,
        records: database.head().records as u64,
    }
}
