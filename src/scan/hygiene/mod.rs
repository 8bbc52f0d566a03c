//! Left-overs and weaknesses. The clean-up's own [rules](crate::disk::clean::rules) say what must be gone (seal = mend,
//! scan = prove); the rest is what makes a machine easy to take over. All of it in one [table].

use super::{Finding, Root, ScanError, Severity};
use crate::disk::clean::{CleanError, Owners, left_over};

mod accounts;
mod apt;
mod apt_conf;
mod boot;
mod host_keys;
mod permissions;
mod proxies;
mod residue;
mod services;
mod sshd;
mod sudo;
mod suspicious_files;
mod table;
mod text;

pub use table::{CHECKS, Check};

/// The largest file that any check reads whole: `sudoers`, sources, boot configuration.
const LARGEST: u64 = 16 << 20;

/// Files of one directory together; configuration is small.
const LARGEST_TOGETHER: usize = 64 << 20;

/// Runs every check.
///
/// # Errors
/// Something that a check must read cannot be read.
pub fn check(root: &Root<'_>) -> Result<Vec<Finding>, ScanError> {
    let owners = Owners::read(root.tree(), root.files()).map_err(failed)?;
    let accounts = accounts::Accounts::read(root)?;
    let mut look = Look {
        root,
        owners: &owners,
        accounts: &accounts,
        findings: Vec::new(),
    };
    residue::check(&mut look)?;
    accounts::check(&mut look)?;
    sudo::check(&mut look)?;
    sshd::check(&mut look)?;
    host_keys::check(&mut look)?;
    apt::check(&mut look)?;
    proxies::check(&mut look)?;
    boot::check(&mut look)?;
    services::check(&mut look)?;
    permissions::check(&mut look);
    suspicious_files::check(&mut look)?;
    let mut findings = look.findings;
    findings.sort_by(|one, other| (&one.check, &one.path).cmp(&(&other.check, &other.path)));
    findings.dedup_by(|one, other| one.id == other.id && one.evidence == other.evidence);
    Ok(findings)
}

/// A scan that is going on.
struct Look<'a> {
    root: &'a Root<'a>,
    owners: &'a Owners,
    accounts: &'a accounts::Accounts,
    findings: Vec<Finding>,
}

impl Look<'_> {
    /// Reports a path with the severity that the table has.
    fn report(&mut self, check: &'static str, path: &[u8], evidence: impl Into<String>) {
        let entry = table::of(check);
        self.report_as(check, entry.severity, path, evidence);
    }

    /// Reports a path that is worse or better than usual.
    fn report_as(
        &mut self,
        check: &'static str,
        severity: Severity,
        path: &[u8],
        evidence: impl Into<String>,
    ) {
        let &Check { title, mend, .. } = table::of(check);
        let path = String::from_utf8_lossy(path).into_owned();
        let mut finding = Finding::new(check, format!("{check}:{path}"), severity, title);
        finding.evidence = evidence.into();
        mend.clone_into(&mut finding.mend);
        finding.path = Some(path);
        self.findings.push(finding);
    }

    /// A configuration file as text; `None` where there is none.
    fn text(&self, path: &str) -> Result<Option<String>, ScanError> {
        let bytes = self.root.read(path.as_bytes(), LARGEST)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Every file of a directory with its text, in order of name; links are followed.
    fn texts(&self, directory: &str) -> Result<Vec<(String, String)>, ScanError> {
        let Some(real) = self.root.resolve(directory.as_bytes()) else {
            return Ok(Vec::new());
        };
        let (mut all, mut together) = (Vec::new(), 0);
        for (path, _) in self.root.children(&real) {
            let path = String::from_utf8_lossy(path).into_owned();
            if let Some(text) = self.text(&path)? {
                together += text.len();
                if together > LARGEST_TOGETHER {
                    return Err(ScanError::TooLarge {
                        path: directory.into(),
                        size: together as u64,
                    });
                }
                all.push((path, text));
            }
        }
        Ok(all)
    }
}

fn failed(error: CleanError) -> ScanError {
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
