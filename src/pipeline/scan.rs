//! A finished image is looked at from outside, and judged, before it is recorded.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::{BuildError, Job, Made};
use crate::digest::Digest;
use crate::os::hash_stream;
use crate::pipeline::manifest_inputs::{self, InputError};
use crate::plan::Format;
use crate::record::manifest::SourceKind;
use crate::scan::report::policy::{Given, Kind, Verdict, judge};
use crate::scan::report::vex;
use crate::scan::report::{self, LeftOut, Report, Subject};
use crate::scan::run::{self, Check, Contents, Origin, Wanted};
use crate::scan::vulnerability::{Database, DbError, Options};
use crate::scan::{self, ScanError};
use crate::time::Timestamp;

/// How images are scanned.
#[derive(Clone, Debug, Default)]
pub struct ScanSettings {
    /// The database of vulnerabilities; that of the user for want of one.
    pub database: Option<PathBuf>,
    /// Checks that are left out.
    pub without: Vec<Check>,
    /// Keep an image that the policy refuses.
    pub keep_failed: bool,
}

/// What a scan has found in an image that its policy lets pass.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) contents: Contents,
    pub(super) report: Report,
}

/// Why an image was not recorded.
#[derive(Debug, Error, Diagnostic)]
pub enum GateError {
    /// A check could not do its work.
    #[error("the finished image cannot be scanned")]
    #[diagnostic(help("mend what it says, or leave the check out with `--without CHECK`"))]
    Scan(
        #[from]
        #[diagnostic_source]
        ScanError,
    ),
    /// The database of vulnerabilities.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Database(#[from] DbError),
    /// A directory of the template.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Input(#[from] InputError),
    /// A VEX document.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vex(#[from] vex::VexError),
    /// The policy.
    #[error("the policy refuses the image; it is {}\n{report}", kept.as_deref().map_or("not kept".to_owned(), |path| format!("kept as {}", path.display())))]
    #[diagnostic(help(
        "mend what was found, or accept it with `[[policy.ignore]]` and a reason; `--keep-failed` keeps the image"
    ))]
    Refused {
        /// What was found.
        report: String,
        /// Where the image is.
        kept: Option<PathBuf>,
        /// Something of it was declared by nobody.
        undeclared: bool,
    },
    /// The refused image cannot be kept.
    #[error("the policy refuses the image, and it cannot be kept as {}\n{report}", path.display())]
    Keep {
        /// What was found.
        report: String,
        /// Where it was to be.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl GateError {
    /// 4 for what nobody declared, 3 for what the policy refuses, else 1.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused {
                undeclared: true, ..
            } => 4,
            Self::Refused { .. } => 3,
            _ => 1,
        }
    }
}

impl Job<'_> {
    /// Scans what was made. `None` when every check is left out.
    pub(super) async fn scan(&self, made: &Made) -> Result<Option<Passed>, BuildError> {
        let without = &self.settings.scan.without;
        if Check::ALL.iter().all(|check| without.contains(check)) {
            self.ui
                .warn("the image is not scanned: every check was left out");
            return Ok(None);
        }
        Ok(Some(self.judged(made).await?))
    }

    async fn judged(&self, made: &Made) -> Result<Passed, GateError> {
        let policy = &self.plan.policy;
        let statements = vex::read(&policy.vex)?;
        let (database, mut left_out) = self.database()?;
        if made.base.is_none() && !self.settings.scan.without.contains(&Check::Undeclared) {
            left_out.push(LeftOut {
                check: Check::Undeclared,
                because: "the bytes of its AMI could not be read, to compare with".to_owned(),
            });
        }
        for LeftOut { check, because } in &left_out {
            self.ui
                .warn(&format!("not checked: {} ({because})", check.name()));
        }
        let facts = database.as_ref().map(run::facts);
        let now = Timestamp::now();
        let options = Options {
            max_age: policy.max_db_age,
            ..Options::at(now)
        };
        let opened = scan::open::recorded(&made.file, self.plan.output.format.name()).await?;
        let asked = !self.settings.scan.without.contains(&Check::Undeclared);
        let origin = if let Some(base) = made.base.as_ref().filter(|_| asked) {
            let base = &base.disk;
            Some(Origin {
                base: scan::open::recorded(&base.path, &base.format).await?,
                lock: made.lock.clone(),
                inputs: made.manifest.inputs.clone(),
                listings: self.listings(made).await?,
            })
        } else {
            None
        };
        let values = self.secrets.clone();
        let scanned = hash_stream::blocking(move |_| {
            let wanted = Wanted {
                left_out,
                database: database.as_ref(),
                options,
                origin: origin.as_ref(),
                values: &values,
            };
            run::scan(&opened, wanted)
        });
        let scanned = scanned.await?;
        let given = Given {
            statements: &statements,
            before: self.before(),
            whole: scanned.left_out.is_empty(),
        };
        let findings = judge(policy, scanned.findings.clone(), &given, now);
        let subject = Subject {
            name: self.plan.image.name.clone(),
            id: None,
            digest: Some(made.manifest.outputs.image.digest),
        };
        let report = Report::new(subject, &scanned, facts, findings);
        if report.failing().next().is_some() {
            return Err(self.refuse(&report, &made.file));
        }
        let told = report
            .findings
            .iter()
            .filter(|it| it.verdict == Verdict::Told);
        let told = told.count();
        if told > 0 {
            let told = report::number(told, "finding");
            self.ui
                .note(&format!("scan: {told} that the policy lets pass"));
        }
        let contents = scanned.contents;
        Ok(Passed { contents, report })
    }

    /// What is in the directories of the template.
    async fn listings(&self, made: &Made) -> Result<HashMap<Digest, Vec<u8>>, InputError> {
        let sources = &made.manifest.inputs.sources;
        let is_directory = |written: &String| {
            let source = sources.get(written);
            source.is_some_and(|source| source.kind == SourceKind::Directory)
        };
        let paths = self.plan.sources.iter();
        let paths = paths.filter(|(_, written)| is_directory(written));
        let paths: Vec<_> = paths.map(|(path, _)| path.clone()).collect();
        hash_stream::blocking(move |stop| {
            let listing = |path: &PathBuf| {
                let listing = manifest_inputs::listing(path, stop)?;
                Ok((Digest::of(&listing), listing))
            };
            paths.iter().map(listing).collect()
        })
        .await
    }

    /// The database, and what cannot be checked without it. One that was asked for must be there.
    fn database(&self) -> Result<(Option<Database>, Vec<LeftOut>), DbError> {
        let settings = &self.settings.scan;
        let left_out = |check: &Check, because: &str| LeftOut {
            check: *check,
            because: because.to_owned(),
        };
        let asked = settings
            .without
            .iter()
            .map(|check| left_out(check, "as asked for"));
        let mut all: Vec<_> = asked.collect();
        if settings.without.contains(&Check::Vulnerabilities) {
            return Ok((None, all));
        }
        let needed = settings.database.is_some() || self.plan.policy.max_db_age.is_some();
        let path = match &settings.database {
            Some(path) => Ok(path.clone()),
            None => Database::of_user(),
        };
        match path.and_then(|path| Database::open(&path)) {
            Ok(database) => Ok((Some(database), all)),
            Err(DbError::Missing { .. } | DbError::NoPlace) if !needed => {
                let because = "there is no database; `karat db import` makes one";
                all.push(left_out(&Check::Vulnerabilities, because));
                Ok((None, all))
            }
            Err(error) => Err(error),
        }
    }

    /// What the last image of that name had. A store that cannot be read has nothing to compare with: all is new then.
    fn before(&self) -> Option<BTreeSet<String>> {
        let store = self.settings.store;
        let ids = store.ids().ok()?.into_iter();
        let scans = ids.filter_map(|id| {
            let name = store.manifest(id).ok()?.manifest.inputs.image.name;
            let scan = store.scans_of(id).ok()?.pop()?;
            (name == self.plan.image.name).then_some(scan)
        });
        scans.max_by_key(|scan| scan.scanned)?.report.keys().ok()
    }

    fn refuse(&self, report: &Report, image: &Path) -> GateError {
        let undeclared = report
            .failing()
            .any(|judged| judged.kind == Kind::Undeclared);
        let text = report.text();
        let mut kept = None;
        if self.settings.scan.keep_failed {
            let format = match self.plan.output.format {
                Format::Raw => "img",
                other => other.name(),
            };
            let path = PathBuf::from(format!("{}.refused.{format}", self.plan.image.name));
            // Over an older one: only the last try is of use.
            if let Err(source) =
                std::fs::rename(image, &path).or_else(|_| std::fs::copy(image, &path).map(drop))
            {
                return GateError::Keep {
                    report: text,
                    path,
                    source,
                };
            }
            kept = Some(path);
        }
        GateError::Refused {
            report: text,
            kept,
            undeclared,
        }
    }
}
