//! Finds leftovers and weaknesses. The clean-up's [rules](crate::disk::clean::rules) define leftovers: the build removes
//! them, the scan verifies that they are gone. The weaknesses make a machine easy to take over. The [table] lists all checks.

use super::{Finding, Root, ScanError, Severity};
use crate::disk::clean::{CleanError, Owners, leftovers};

mod accounts;
mod apt;
mod apt_conf;
mod boot;
mod host_keys;
mod lists;
mod permissions;
mod proxies;
mod residue;
mod services;
mod sshd;
mod sudo;
mod suspicious_files;
mod table;
mod text;

/// Maximum size of a file that a check reads as a whole: `sudoers`, package sources, boot configuration.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Maximum size of the files of one directory together.
const MAX_DIRECTORY_BYTES: usize = 64 << 20;

/// Runs every check.
///
/// # Errors
/// Fails if a check cannot read a file that it needs.
pub fn check(root: &Root<'_>) -> Result<Vec<Finding>, ScanError> {
    let owners = Owners::read(root.tree(), root.files()).map_err(scan_error)?;
    let accounts = accounts::Accounts::read(root)?;
    let mut scan = HygieneScan {
        root,
        owners: &owners,
        accounts: &accounts,
        findings: Vec::new(),
    };
    residue::check(&mut scan)?;
    accounts::check(&mut scan)?;
    sudo::check(&mut scan)?;
    sshd::check(&mut scan)?;
    host_keys::check(&mut scan)?;
    apt::check(&mut scan)?;
    proxies::check(&mut scan)?;
    boot::check(&mut scan)?;
    services::check(&mut scan)?;
    permissions::check(&mut scan);
    suspicious_files::check(&mut scan)?;
    let mut findings = scan.findings;
    findings.sort_by(|one, other| (&one.check, &one.path).cmp(&(&other.check, &other.path)));
    findings.dedup_by(|one, other| one.id == other.id && one.evidence == other.evidence);
    Ok(findings)
}

/// The input of all checks, and their findings.
struct HygieneScan<'a> {
    root: &'a Root<'a>,
    owners: &'a Owners,
    accounts: &'a accounts::Accounts,
    findings: Vec<Finding>,
}

impl HygieneScan<'_> {
    /// Adds a finding with the severity from the table.
    fn report(&mut self, check: &'static str, path: &[u8], evidence: impl Into<String>) {
        let severity = table::by_id(check).severity;
        self.report_as(check, severity, path, evidence);
    }

    /// Adds a finding about a line of a file.
    fn report_line(&mut self, check: &'static str, path: &str, line: usize, evidence: &str) {
        self.report(check, path.as_bytes(), format!("line {line}: {evidence}"));
    }

    /// Adds a finding with a severity of its own.
    fn report_as(
        &mut self,
        check: &'static str,
        severity: Severity,
        path: &[u8],
        evidence: impl Into<String>,
    ) {
        let properties = table::by_id(check);
        let path = String::from_utf8_lossy(path).into_owned();
        let mut finding = Finding::new(
            check,
            format!("{check}:{path}"),
            severity,
            properties.title.as_str(),
        );
        finding.evidence = evidence.into();
        finding.fix.clone_from(&properties.fix);
        finding.path = Some(path);
        self.findings.push(finding);
    }

    /// Reads a file as text; `None` if it does not exist.
    fn text(&self, path: &str) -> Result<Option<String>, ScanError> {
        let bytes = self.root.read(path.as_bytes(), MAX_FILE_BYTES)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Reads the files of directories and single files: path and text of those that exist. Symbolic links are followed.
    fn texts(
        &self,
        directories: &[&str],
        files: &[&str],
    ) -> Result<Vec<(String, String)>, ScanError> {
        let mut texts = Vec::new();
        for directory in directories {
            let Some(real) = self.root.resolve(directory.as_bytes()) else {
                continue;
            };
            let mut total = 0;
            for (path, _) in self.root.children(&real) {
                let path = String::from_utf8_lossy(path).into_owned();
                let Some(text) = self.text(&path)? else {
                    continue;
                };
                total += text.len();
                if total > MAX_DIRECTORY_BYTES {
                    return Err(ScanError::TooLarge {
                        path: directory.into(),
                        size: total as u64,
                    });
                }
                texts.push((path, text));
            }
        }
        for path in files {
            texts.extend(self.text(path)?.map(|text| ((*path).to_owned(), text)));
        }
        Ok(texts)
    }
}

fn scan_error(error: CleanError) -> ScanError {
    match error {
        CleanError::Read(error) => ScanError::Read(error),
        CleanError::TooLarge { path, size } => ScanError::TooLarge { path, size },
        error @ CleanError::Owned { .. } => ScanError::Damaged {
            path: "/".into(),
            problem: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
