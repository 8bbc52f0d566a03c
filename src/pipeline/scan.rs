//! Scan of a finished image, from outside, and its policy: before the image is recorded.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::{BuildError, Job, Made};
use crate::digest::Digest;
use crate::disk::{self, NormalizeError, NormalizeRequest};
use crate::os::hash_stream;
use crate::pipeline::manifest_inputs::{self, InputError};
use crate::record::manifest::SourceKind;
use crate::scan::report::policy::{JudgeContext, Kind, Verdict, judge};
use crate::scan::report::vex;
use crate::scan::report::{LeftOut, Report, Subject};
use crate::scan::run::{self, BuildOrigin, Check, Contents, ScanRequest};
use crate::scan::undeclared::{ACCOUNT_FILES, StepTrees};
use crate::scan::vulnerability::{Database, DbError, Options};
use crate::scan::{self, integrity};
use crate::time::Timestamp;
use crate::ui::text::counted;

/// Options of the scan.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScanSettings {
    /// Database of vulnerabilities; by default the user's.
    pub database: Option<PathBuf>,
    pub without: Vec<Check>,
    /// Keeps an image that the policy refuses or whose test fails.
    pub keep_failed: bool,
}

/// Scan result of an image that its policy accepts.
#[derive(Debug)]
pub(super) struct AcceptedScan {
    pub(super) contents: Contents,
    pub(super) report: Report,
    /// Explanation of the tree as it is stored.
    pub(super) explanation: Option<Vec<u8>>,
}

/// Returns the disk that the packages left; `None` if no step ran, or it was not kept.
fn installed(made: &Made) -> Option<NormalizeRequest> {
    let disk = made.disk.as_ref().filter(|disk| disk.overlays.len() > 1)?;
    let mut installed = disk.clone();
    installed.overlays.remove(0);
    Some(installed)
}

/// Reads the trees before and after the steps; `None` if there is no tree before them.
async fn steps(made: &Made) -> Result<Option<StepTrees>, NormalizeError> {
    let (Some(disk), Some(installed)) = (&made.disk, installed(made)) else {
        return Ok(None);
    };
    let before = disk::cleaned_tree(installed, ACCOUNT_FILES).await?;
    let after = match &made.listing {
        Some(listing) => listing.clone(),
        None => disk::cleaned_tree(disk.clone(), &[]).await?.listing,
    };
    Ok(Some(StepTrees {
        before,
        after,
        disk: Some(disk.clone()),
        times: made.times.clone(),
    }))
}

impl Job<'_> {
    /// Scans the image and applies the policy. `None` if every check is skipped.
    pub(super) async fn scan_image(&self, made: &Made) -> Result<Option<AcceptedScan>, BuildError> {
        let without = &self.settings.scan.without;
        if Check::ALL.iter().all(|check| without.contains(check)) {
            self.ui
                .warn("the image is not scanned: all checks are skipped");
            return Ok(None);
        }
        Ok(Some(self.scan_and_judge(made).await?))
    }

    async fn scan_and_judge(&self, made: &Made) -> Result<AcceptedScan, BuildError> {
        let policy = &self.plan.policy;
        let statements = vex::read(&policy.vex)?;
        let (database, left_out) = self.checks(made)?;
        let facts = database.as_ref().map(run::facts);
        let now = Timestamp::now();
        let options = Options {
            max_age: policy.max_db_age,
            ..Options::at(now)
        };
        let opened = scan::open::recorded(&made.file, self.plan.output.format.name()).await?;
        let origin = self.origin(made).await?;
        let values = self.secrets.clone();
        let scanned = hash_stream::blocking(move |_| {
            let wanted = ScanRequest {
                left_out,
                database: database.as_ref(),
                options,
                origin: origin.as_ref(),
                values: &values,
            };
            run::scan(&opened, wanted)
        })
        .await?;
        let given = JudgeContext {
            statements: &statements,
            before: self.previous_findings(),
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
        let tolerated = report
            .findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Told)
            .count();
        if tolerated > 0 {
            let findings = counted(tolerated, "finding");
            self.ui
                .note(&format!("scan: {findings} that the policy accepts"));
        }
        Ok(AcceptedScan {
            contents: scanned.contents,
            report,
            explanation: scanned.explanation,
        })
    }

    /// Opens the database, and warns of every check that is left out.
    fn checks(&self, made: &Made) -> Result<(Option<Database>, Vec<LeftOut>), DbError> {
        let (database, mut left_out) = self.database()?;
        if made.base.is_none() && self.checks_undeclared() {
            left_out.push(LeftOut {
                check: Check::Undeclared,
                because: "the bytes of its AMI could not be read, to compare with".to_owned(),
            });
        }
        for LeftOut { check, because } in &left_out {
            self.ui.warn(&format!("not checked: {check} ({because})"));
        }
        Ok((database, left_out))
    }

    fn checks_undeclared(&self) -> bool {
        !self.settings.scan.without.contains(&Check::Undeclared)
    }

    /// Collects the inputs of the image, for the check of undeclared content.
    async fn origin(&self, made: &Made) -> Result<Option<BuildOrigin>, BuildError> {
        let Some(base) = made.base.as_ref().filter(|_| self.checks_undeclared()) else {
            return Ok(None);
        };
        let (lock, cache) = (made.lock.clone(), self.settings.cache.clone());
        let packages = hash_stream::blocking(move |_| {
            let contents = cache.package_contents();
            integrity::read_packages(&lock, Some(&contents), |digest| cache.path(digest))
        });
        Ok(Some(BuildOrigin {
            base: scan::open::recorded(&base.disk.path, &base.disk.format).await?,
            packages: packages.await?,
            lock: made.lock.clone(),
            inputs: made.manifest.inputs.clone(),
            listings: self.listings(made).await?,
            steps: steps(made).await?,
            installed: installed(made)
                .map(|disk| disk::open_disk(&disk))
                .transpose()?,
            explain: true,
        }))
    }

    /// Lists the template's directories, by digest of the listing.
    async fn listings(&self, made: &Made) -> Result<HashMap<Digest, Vec<u8>>, InputError> {
        let sources = &made.manifest.inputs.sources;
        let is_directory = |written: &String| {
            let source = sources.get(written);
            source.is_some_and(|source| source.kind == SourceKind::Directory)
        };
        let paths: Vec<PathBuf> = self
            .plan
            .sources
            .iter()
            .filter(|(_, written)| is_directory(written))
            .map(|(path, _)| path.clone())
            .collect();
        hash_stream::blocking(move |stop| {
            let listing = |path: &PathBuf| {
                let listing = manifest_inputs::listing(path, stop)?;
                Ok((Digest::of(&listing), listing))
            };
            paths.iter().map(listing).collect()
        })
        .await
    }

    /// Opens the database of vulnerabilities. Without one, the check is left out, unless the user or the policy asks for it.
    fn database(&self) -> Result<(Option<Database>, Vec<LeftOut>), DbError> {
        let settings = &self.settings.scan;
        let left_out = |check: &Check, because: &str| LeftOut {
            check: *check,
            because: because.to_owned(),
        };
        let mut all: Vec<_> = settings
            .without
            .iter()
            .map(|check| left_out(check, "skipped with --without"))
            .collect();
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
                let because = "there is no database; `karat db update` creates one";
                all.push(left_out(&Check::Vulnerabilities, because));
                Ok((None, all))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the findings of the previous image of this name. If the store cannot be read, all findings are new.
    fn previous_findings(&self) -> Option<BTreeSet<String>> {
        let store = self.settings.store;
        let ids = store.ids().ok()?.into_iter();
        let scans = ids.filter_map(|id| {
            let name = store.manifest(id).ok()?.manifest.inputs.image.name;
            let scan = store.scans_of(id).ok()?.pop()?;
            (name == self.plan.image.name).then_some(scan)
        });
        scans.max_by_key(|scan| scan.scanned)?.report.keys().ok()
    }

    fn refuse(&self, report: &Report, image: &Path) -> BuildError {
        let undeclared = report
            .failing()
            .any(|judged| judged.kind == Kind::Undeclared);
        let text = report.text();
        let mut kept = None;
        if self.settings.scan.keep_failed {
            match self.keep_image(image, "refused") {
                Ok(path) => kept = Some(path),
                Err((path, source)) => {
                    return BuildError::NotKept {
                        report: text,
                        path,
                        source,
                    };
                }
            }
        }
        BuildError::Refused {
            report: text,
            kept,
            undeclared,
        }
    }
}
