//! All checks of one system, in one go.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::inventory::{self, Inventory};
use super::report::licenses::{self, Licenses};
use super::report::policy::Kind;
use super::report::{DatabaseFacts, LeftOut};
use super::undeclared::{self, Declared, ObservedState};
use super::vulnerability::{self, Database, Options};
use super::{Finding, Opened, Packaged, Root, ScanError, hygiene, integrity, secrets};
use crate::digest::Digest;
use crate::record::lock::Lock;
use crate::record::manifest::{Action, Inputs};
use crate::secret::Secrets;

/// A part of a scan that can be left out.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Known vulnerabilities of packages
    Vulnerabilities,
    /// Left-overs and weaknesses, and packaged files that were changed
    Hygiene,
    /// Credentials in files, and the template's own secrets anywhere on the disk
    Secrets,
    /// What nobody has declared
    Undeclared,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Vulnerabilities,
        Self::Hygiene,
        Self::Secrets,
        Self::Undeclared,
    ];

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vulnerabilities => "vulnerabilities",
            Self::Hygiene => "hygiene",
            Self::Secrets => "secrets",
            Self::Undeclared => "undeclared",
        }
    }
}

/// What an image was made from.
pub struct Origin {
    /// The disk that it began as.
    pub base: Opened,
    /// The packages that were installed.
    pub lock: Lock,
    /// Everything else.
    pub inputs: Inputs,
    /// What is in the directories among the inputs: their [listings](crate::pipeline::manifest_inputs::listing), by digest.
    pub listings: HashMap<Digest, Vec<u8>>,
}

impl Origin {
    /// Where directories were put as a whole, with what was in them.
    fn directories(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let steps = self
            .inputs
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::File(file) => Some(file),
                _ => None,
            });
        let files = self.inputs.files.iter().chain(steps);
        files.filter_map(|file| {
            let listing = self.listings.get(&file.digest)?;
            Some((file.destination.as_str(), listing.as_slice()))
        })
    }

    /// What is declared, as far as it matters for an image with such facts.
    fn declared(&self, image: &ObservedState) -> Result<Declared, ScanError> {
        let facts = ObservedState::collect_base(&self.base.root(), image)?;
        let mut declared = Declared::new(facts, Some(&self.lock), &self.inputs);
        for (destination, listing) in self.directories() {
            declared.narrow(destination, listing);
        }
        Ok(declared)
    }
}

/// What a scan has to go by.
pub struct Wanted<'a> {
    /// Checks that are not made, and why.
    pub left_out: Vec<LeftOut>,
    /// The database; needed unless vulnerabilities are left out.
    pub database: Option<&'a Database>,
    /// How vulnerabilities are checked.
    pub options: Options,
    /// What the image was made from; needed unless what is undeclared is left out.
    pub origin: Option<&'a Origin>,
    /// The template's own secrets.
    pub values: &'a Secrets,
}

/// What is installed, for later scans without the image.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// What is installed.
    pub inventory: Inventory,
    /// Its licences.
    pub licenses: Licenses,
}

/// What a scan has found, before it is judged.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// What is installed.
    pub contents: Contents,
    /// What was found.
    pub findings: Vec<(Kind, Finding)>,
    /// Checks that were not made, and why.
    pub left_out: Vec<LeftOut>,
}

impl Wanted<'_> {
    fn wants(&self, check: Check) -> bool {
        !self.left_out.iter().any(|it| it.check == check)
    }
}

/// Makes every check that is wanted of a system that was opened.
///
/// # Errors
/// A check cannot do its work.
pub fn scan(opened: &Opened, wanted: Wanted<'_>) -> Result<Scanned, ScanError> {
    let root = opened.root();
    let files = [Check::Hygiene, Check::Secrets, Check::Undeclared];
    let by_files = files.into_iter().any(|check| wanted.wants(check));
    // Files are hashed while everything is looked at that does not depend on it.
    let (packaged, listed) = std::thread::scope(|scope| {
        let verify = || integrity::verify(&root, threads());
        let verified = by_files.then(|| scope.spawn(verify));
        let listed = listed(&root, &wanted);
        (verified.map_or(Ok(Packaged::default()), joined), listed)
    });
    let (contents, mut findings) = listed?;
    let packaged = packaged?;
    let undeclared = wanted.origin.filter(|_| wanted.wants(Check::Undeclared));
    if undeclared.is_none() && wanted.wants(Check::Hygiene) {
        findings.extend(of_kind(Kind::Hygiene, packaged.findings()));
    }
    let (undeclared, secrets) = std::thread::scope(|scope| {
        let compared = undeclared.map(|origin| {
            let compare = || nobodys(&root, &packaged, origin);
            scope.spawn(compare)
        });
        let secrets = secrets(opened, &packaged, &wanted);
        (compared.map_or(Ok(Vec::new()), joined), secrets)
    });
    findings.extend(of_kind(Kind::Undeclared, undeclared?));
    findings.extend(secrets?);
    Ok(Scanned {
        contents,
        findings,
        left_out: wanted.left_out,
    })
}

/// A check's result, or its panic.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    let ended = thread.join();
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn of_kind(kind: Kind, found: Vec<Finding>) -> impl Iterator<Item = (Kind, Finding)> {
    found.into_iter().map(move |finding| (kind, finding))
}

/// What is installed, and what is found without a look at all files.
fn listed(
    root: &Root<'_>,
    wanted: &Wanted<'_>,
) -> Result<(Contents, Vec<(Kind, Finding)>), ScanError> {
    let inventory = inventory::read(root)?;
    let mut findings = vulnerabilities(&inventory, wanted)?;
    if wanted.wants(Check::Hygiene) {
        findings.extend(of_kind(Kind::Hygiene, hygiene::check(root)?));
    }
    let licenses = licenses::read(root, &inventory)?;
    let contents = Contents {
        inventory,
        licenses,
    };
    Ok((contents, findings))
}

fn nobodys(
    root: &Root<'_>,
    packaged: &Packaged,
    origin: &Origin,
) -> Result<Vec<Finding>, ScanError> {
    let now = ObservedState::collect(root, packaged)?;
    let declared = origin.declared(&now)?;
    undeclared::check(root, packaged, &now, &declared)
}

fn secrets(
    opened: &Opened,
    packaged: &Packaged,
    wanted: &Wanted<'_>,
) -> Result<Vec<(Kind, Finding)>, ScanError> {
    if !wanted.wants(Check::Secrets) {
        return Ok(Vec::new());
    }
    let root = opened.root();
    let mut found = secrets::search_files(&root, &packaged.identical)?;
    if let Some(disk) = opened.disk() {
        found.extend(secrets::search_disk(&root, disk, wanted.values)?);
    }
    // Where nothing could be looked for, there is no secret that was found.
    let kind = |it: &Finding| match it.check.as_ref() {
        "secret" => Kind::Secret,
        _ => Kind::Hygiene,
    };
    Ok(found.into_iter().map(|it| (kind(&it), it)).collect())
}

/// Checks what was stored of an image: nothing but vulnerabilities can be found without the image.
///
/// # Errors
/// The check cannot do its work.
pub fn scan_contents(contents: Contents, wanted: Wanted<'_>) -> Result<Scanned, ScanError> {
    Ok(Scanned {
        findings: vulnerabilities(&contents.inventory, &wanted)?,
        contents,
        left_out: wanted.left_out,
    })
}

fn vulnerabilities(
    inventory: &Inventory,
    wanted: &Wanted<'_>,
) -> Result<Vec<(Kind, Finding)>, ScanError> {
    let database = match wanted.database {
        Some(database) if wanted.wants(Check::Vulnerabilities) => database,
        _ => return Ok(Vec::new()),
    };
    let found = vulnerability::check(inventory, database, &wanted.options)?;
    let found = found.into_iter();
    Ok(found
        .map(|finding| (Kind::Vulnerability, finding))
        .collect())
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Which database it is.
#[must_use]
pub fn facts(database: &Database) -> DatabaseFacts {
    DatabaseFacts {
        digest: database.digest().to_string(),
        date: database.head().date,
        records: database.head().records as u64,
    }
}
