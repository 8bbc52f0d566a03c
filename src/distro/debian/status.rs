//! Packages as a machine has them (dpkg's status) or an archive offers them, with what they need.

use super::control::{self, Paragraph};
use super::relation::{self, Alternative, Wanted};
use super::version::Version;

/// What a package says of itself.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its architecture, `all` for none.
    pub architecture: &'a str,
    /// KiB on the disk.
    pub installed_size: u64,
    /// The system does not work without it (`Essential`, `Protected`, and `Important` of old).
    pub essential: bool,
    /// `Provides`: names that it stands for.
    pub provides: String,
    /// `Pre-Depends` and `Depends`, one after the other.
    pub depends: String,
    /// `Recommends`.
    pub recommends: String,
}

/// The packages of a dpkg status that are unpacked in any way; their files are on the disk.
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

/// The packages of a `Packages` file.
#[must_use]
pub fn offered(index: &str) -> Vec<Package<'_>> {
    control::paragraphs(index)
        .filter_map(|paragraph| Package::read(&paragraph))
        .collect()
}

impl<'a> Package<'a> {
    /// Reads a paragraph of a status or of a `Packages` file; `None` without name or version, as in one that a program
    /// has cut short.
    #[must_use]
    pub fn read(paragraph: &Paragraph<'a>) -> Option<Self> {
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
    /// Whether this package is, or stands for, what is asked for.
    #[must_use]
    pub fn satisfies(&self, asked: &Alternative<'_>) -> bool {
        let accepts = |version: &Version<'_>| {
            let wanted = asked.wanted.as_ref();
            wanted.is_none_or(|wanted| wanted.accepts(version))
        };
        if self.name == asked.name {
            // Its own version cannot be odd where dpkg has installed it; if it is, the name alone has to do.
            return Version::parse(self.version)
                .map_or(asked.wanted.is_none(), |own| accepts(&own));
        }
        let provided = relation::read(&self.provides);
        let mut of_that_name = provided
            .iter()
            .flatten()
            .filter(|one| one.name == asked.name);
        of_that_name.any(|one| match one.wanted.as_ref().and_then(Wanted::exact) {
            Some(version) => accepts(&version),
            // A name that is provided without a version never meets one that asks for a version.
            None => asked.wanted.is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
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
            let groups = relation::read(asked);
            assert_eq!(
                exim.satisfies(&groups[0][0]),
                expected,
                "asking for {asked}"
            );
        }
    }

    #[test]
    fn the_statuses_of_the_reference_are_read_as_dpkg_reads_them() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/scandata/dpkg-parse");
        let Ok(entries) = std::fs::read_dir(&root) else {
            // Straight to the descriptor: the test harness captures what `eprintln!` prints.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: no reference statuses at {}",
                root.display()
            );
            return;
        };
        let mut checked = 0;
        for path in entries.map(|entry| entry.unwrap().path()) {
            let Ok(said) = std::fs::read_to_string(path.with_extension("status.dpkg-query.txt"))
            else {
                continue;
            };
            let (said, _) = said.split_once("--stderr--").unwrap_or((&said, ""));
            let Some(rows) = said.strip_prefix("rc=0\n") else {
                continue; // dpkg refuses the file as a whole
            };
            let rows = rows.lines().map(|row| row.split('\t').collect::<Vec<_>>());
            let expected = rows
                .filter(|row| {
                    !row[6].ends_with("config-files") && !row[6].ends_with("not-installed")
                })
                .map(|row| {
                    // A package that may be there for several architectures is shown with its own.
                    let name = row[0].split(':').next().unwrap_or_default();
                    format!("{name} {}", row[2])
                });
            let status = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let found = installed(&status)
                .into_iter()
                .map(|package| format!("{} {}", package.name, package.version));
            let (mut found, mut expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
            found.sort();
            expected.sort();
            checked += found.len();
            assert_eq!(found, expected, "{}", path.display());
        }
        assert!(checked > 10, "only {checked} packages");
    }
}
