//! Lists the installed packages and their origin.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::plan::PackageSet;
use crate::provision::remote;
use crate::record::lock::Lock;
use crate::record::manifest::{Origin, Package};
use crate::ssh::{Session, SshError};

/// Prints one line per package of dpkg and of RPM. A machine may have both, or neither.
const QUERY: &str = "if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${db:Status-Status}\\t${Package}\\t${Version}\\t${Architecture}\\n'
fi
if command -v rpm >/dev/null && [ -n \"$(ls -A \"$(rpm --eval '%{_dbpath}')\" 2>/dev/null)\" ]; then
    rpm -qa --qf 'installed\\t%{NAME}\\t%{EVR}\\t%{ARCH}\\n' | grep -v '^installed.gpg-pubkey' || :
fi";

/// A package installed in the machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledPackage {
    /// Package name without architecture.
    pub name: String,
    /// Full version as the package manager prints it.
    pub version: String,
    /// Architecture; `all` (RPM: `noarch`) for any.
    #[serde(rename = "architecture")]
    pub arch: String,
}

/// Lists the installed packages, sorted by name and architecture.
///
/// # Errors
/// Fails if the machine has no answer over SSH.
pub async fn installed_packages(session: &Session) -> Result<Vec<InstalledPackage>, SshError> {
    Ok(parse(&session.output(&remote::sh(QUERY, &[])).await?))
}

/// Adds origin and digest to each package, from the packages of the base, the declared ones and the lock.
///
/// A declared package counts as declared even if the base has it.
#[must_use]
pub fn attribute(
    before: &[InstalledPackage],
    after: Vec<InstalledPackage>,
    declared: Option<&PackageSet>,
    lock: &Lock,
) -> Vec<Package> {
    let declared: BTreeSet<&str> = declared.into_iter().flat_map(PackageSet::names).collect();
    let base: BTreeSet<_> = before
        .iter()
        .map(|package| (&package.name, &package.arch))
        .collect();
    let origin = |package: &InstalledPackage| {
        if declared.contains(package.name.as_str()) {
            Origin::Declared
        } else if base.contains(&(&package.name, &package.arch)) {
            Origin::Base
        } else {
            Origin::Dependency
        }
    };
    let attributed = |package: InstalledPackage| {
        let locked = lock.packages.iter().find(|locked| {
            (&locked.name, &locked.version, &locked.architecture)
                == (&package.name, &package.version, &package.arch)
        });
        Package {
            origin: origin(&package),
            sha256: locked.map(|locked| locked.sha256),
            name: package.name,
            version: package.version,
            arch: package.arch,
        }
    };
    after.into_iter().map(attributed).collect()
}

fn parse(lines: &str) -> Vec<InstalledPackage> {
    let package = |line: &str| {
        let mut fields = line.split('\t').map(str::to_owned);
        (fields.next()? == "installed").then_some(())?;
        Some(InstalledPackage {
            name: fields.next()?,
            version: fields.next()?,
            arch: fields.next()?,
        })
    };
    let mut packages: Vec<_> = lines.lines().filter_map(package).collect();
    packages.sort();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::lock::{Manager, PackageRequest, Resolution};

    #[test]
    fn packages_that_are_not_installed_are_left_out() {
        let lines = "installed\tzlib1g\t1:1.2\tamd64\nconfig-files\texim4\t4.96\tall\ninstalled\tbase\t1\tall\n";
        let names: Vec<_> = parse(lines)
            .into_iter()
            .map(|package| package.name)
            .collect();
        assert_eq!(names, ["base", "zlib1g"]);
    }

    #[test]
    fn each_package_has_a_reason() {
        let package = |name: &str, version: &str| InstalledPackage {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: "amd64".to_owned(),
        };
        let install = ["nginx=1.22", "curl:amd64"];
        let packages = PackageSet::declaring(Manager::Apt, &install, &[]);
        let before = [package("libc6", "1"), package("curl", "1")];
        let after = vec![
            package("curl", "1"),
            package("libc6", "2"),
            package("libnginx", "1"),
            package("nginx", "1.22"),
        ];
        let lock = Lock::new(PackageRequest::nothing(None), None, Resolution::default());
        let origins: Vec<_> = attribute(&before, after, Some(&packages), &lock)
            .into_iter()
            .map(|package| package.origin)
            .collect();
        assert_eq!(
            origins,
            [
                Origin::Declared,
                Origin::Base,
                Origin::Dependency,
                Origin::Declared
            ]
        );
    }
}
