//! Packages of a machine (dpkg's status) or an archive (`Packages`), with their relations.

use super::control::{self, Paragraph};
use super::relation::{self, Alternative, VersionConstraint};
use super::version::Version;

/// Fields of a package paragraph.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// Name of the binary package.
    pub name: &'a str,
    /// Version of the binary package.
    pub version: &'a str,
    /// Architecture of the package, or `all`.
    pub architecture: &'a str,
    /// Installed size in KiB.
    pub installed_size: u64,
    /// Required for a working system (`Essential`, `Protected`, and the older `Important`).
    pub essential: bool,
    /// Names that the package provides (`Provides`).
    pub provides: String,
    /// `Pre-Depends` and `Depends`, joined.
    pub depends: String,
    /// Packages that it recommends (`Recommends`).
    pub recommends: String,
}

/// Returns the packages of a dpkg status whose files are on the disk, in any state.
#[must_use]
pub fn installed(status: &str) -> Vec<Package<'_>> {
    let present = |paragraph: &Paragraph<'_>| {
        let state = paragraph.field("Status").unwrap_or_default();
        let state = state.split_ascii_whitespace().nth(2);
        !matches!(state, None | Some("not-installed" | "config-files"))
    };
    control::paragraphs(status)
        .filter(present)
        .filter_map(|paragraph| Package::read(&paragraph))
        .collect()
}

/// Returns the packages of a `Packages` file.
pub(crate) fn offered(index: &str) -> Vec<Package<'_>> {
    control::paragraphs(index)
        .filter_map(|paragraph| Package::read(&paragraph))
        .collect()
}

impl<'a> Package<'a> {
    /// Parses a paragraph of a status or `Packages` file; `None` without name or version, as in a truncated file.
    pub(crate) fn read(paragraph: &Paragraph<'a>) -> Option<Self> {
        let yes = |name| paragraph.field(name) == Some("yes");
        let depends = ["Pre-Depends", "Depends"].map(|name| paragraph.folded(name));
        let text = |name| paragraph.folded(name).unwrap_or_default().into_owned();
        Some(Self {
            name: paragraph.field("Package").filter(|name| !name.is_empty())?,
            version: paragraph.field("Version")?,
            architecture: paragraph.field("Architecture").unwrap_or_default(),
            installed_size: paragraph
                .field("Installed-Size")
                .and_then(|size| size.parse().ok())
                .unwrap_or(0),
            essential: yes("Essential") || yes("Protected") || yes("Important"),
            provides: text("Provides"),
            depends: depends.into_iter().flatten().collect::<Vec<_>>().join(", "),
            recommends: text("Recommends"),
        })
    }
}

impl Package<'_> {
    /// Returns whether this package is, or provides, the requested one.
    pub(crate) fn satisfies(&self, asked: &Alternative<'_>) -> bool {
        let accepts = |version: &Version<'_>| {
            let constraint = asked.constraint.as_ref();
            constraint.is_none_or(|constraint| constraint.accepts(version))
        };
        if self.name == asked.name {
            // dpkg installs only valid versions; an invalid one is matched by name alone.
            return Version::parse(self.version)
                .map_or(asked.constraint.is_none(), |own| accepts(&own));
        }
        let provided = relation::parse(&self.provides);
        let mut of_that_name = provided
            .iter()
            .flatten()
            .filter(|one| one.name == asked.name);
        of_that_name.any(
            |one| match one.constraint.as_ref().and_then(VersionConstraint::exact) {
                Some(version) => accepts(&version),
                // A name provided without a version never satisfies a versioned relation.
                None => asked.constraint.is_none(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const STATUS: &str = "\
Package: exim4-base
Status: install ok installed
Installed-Size: 1234
Architecture: amd64
Version: 4.96-15
Provides: mail-transport-agent, exim (= 4.96)
Pre-Depends: debconf (>= 0.5)
Depends: adduser,
 cron | cron-daemon
Recommends: psmisc

Package: gone
Status: deinstall ok config-files
Version: 1

Package: half
Status: install ok unpacked
Version: 2
Protected: yes
";

    #[test]
    fn what_is_on_the_disk_is_read_and_what_is_gone_is_not() {
        let packages = installed(STATUS);
        let names: Vec<_> = packages.iter().map(|package| package.name).collect();
        assert_eq!(names, ["exim4-base", "half"]);
        let exim = &packages[0];
        assert_eq!((exim.installed_size, exim.essential), (1234, false));
        assert_eq!(
            exim.depends,
            "debconf (>= 0.5), adduser, cron | cron-daemon"
        );
        assert!(packages[1].essential);
    }

    #[test]
    fn a_package_stands_for_its_name_and_what_it_provides() {
        let exim = &installed(STATUS)[0];
        for (asked, expected) in [
            ("exim4-base", true),
            ("exim4-base (>= 4.96)", true),
            ("exim4-base (>> 4.96-15)", false),
            ("mail-transport-agent", true),
            ("mail-transport-agent (>= 1)", false),
            ("exim (>= 4)", true),
            ("exim (>= 5)", false),
            ("exim4", false),
        ] {
            let groups = relation::parse(asked);
            assert_eq!(
                exim.satisfies(&groups[0][0]),
                expected,
                "asking for {asked}"
            );
        }
    }

    #[test]
    fn statuses_are_read_as_by_dpkg() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dpkg");
        let mut checked = 0;
        for path in std::fs::read_dir(directory).unwrap() {
            let path = path.unwrap().path();
            let query = path.with_extension("dpkg-query.txt");
            if path == query || path.extension().is_none_or(|end| end != "status") {
                continue;
            }
            let answer = std::fs::read_to_string(query).unwrap();
            let Some(rows) = answer.strip_prefix("rc=0\n") else {
                continue; // dpkg rejects the file as a whole
            };
            let rows = rows.lines().map(|row| row.split('\t').collect::<Vec<_>>());
            let expected = rows
                .filter(|row| !row[6].ends_with("config-files"))
                .map(|row| format!("{} {}", row[1], row[2]));
            let status = std::fs::read_to_string(&path).unwrap();
            let found = installed(&status).into_iter();
            let found = found.map(|package| format!("{} {}", package.name, package.version));
            let (mut found, mut expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
            found.sort();
            expected.sort();
            checked += found.len();
            assert_eq!(found, expected, "{}", path.display());
        }
        assert!(checked > 100, "only {checked} packages");
    }
}
