//! `Packages`: the packages that an archive offers.

use std::collections::{BTreeMap, BTreeSet};

use super::control;
use super::version::Version;

/// Newest versions, by package name and architecture.
pub type Newest = BTreeMap<(String, String), String>;

/// Returns the newest version of each package of an index for whose name and architecture `wanted` holds. Paragraphs
/// without a version that dpkg accepts are ignored.
#[must_use]
pub fn newest(index: &str, wanted: impl Fn(&str, &str) -> bool) -> Newest {
    let mut newest = Newest::new();
    for paragraph in control::paragraphs(index) {
        let (Some(name), Some(architecture)) =
            (paragraph.field("Package"), paragraph.field("Architecture"))
        else {
            continue;
        };
        if !wanted(name, architecture) {
            continue;
        }
        if let Some(version) = paragraph.field("Version") {
            record_version(&mut newest, (name, architecture), version);
        }
    }
    newest
}

/// Returns the names of the packages that the index has in one of the `wanted` versions.
#[must_use]
pub(crate) fn offering<'w>(
    index: &str,
    wanted: &'w BTreeSet<(String, String)>,
) -> BTreeSet<&'w str> {
    let offered: BTreeSet<_> = control::paragraphs(index)
        .filter_map(|paragraph| Some((paragraph.field("Package")?, paragraph.field("Version")?)))
        .collect();
    let wanted = wanted.iter();
    let found =
        wanted.filter(|(name, version)| offered.contains(&(name.as_str(), version.as_str())));
    found.map(|(name, _)| name.as_str()).collect()
}

/// Records a version if it is newer than the known one.
pub(crate) fn record_version(
    newest: &mut Newest,
    (name, architecture): (&str, &str),
    version: &str,
) {
    let Ok(offered) = Version::parse(version) else {
        return;
    };
    let known = newest
        .entry((name.to_owned(), architecture.to_owned()))
        .or_insert_with(|| version.to_owned());
    if Version::parse(known).is_ok_and(|known| known < offered) {
        version.clone_into(known);
    }
}

/// Returns whether `offered` is newer than `have` in dpkg's order. Invalid versions are never newer.
pub(crate) fn is_newer(offered: &str, have: &str) -> bool {
    match (Version::parse(offered), Version::parse(have)) {
        (Ok(offered), Ok(have)) => offered > have,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_what_is_asked_about_is_found() {
        let index = "\
Package: nginx
Version: 1.9-1
Architecture: amd64

Package: nginx
Version: 1.22-9+deb12u2
Architecture: amd64
Filename: pool/n

Package: nginx
Version: 1.22-10
Architecture: arm64

Package: curl
Version: 7
Architecture: amd64

Package: nginx
Version: ~:odd
Architecture: amd64

Package: nginx
Architecture: amd64
";
        let found = newest(index, |name, architecture| {
            name == "nginx" && architecture == "amd64"
        });
        let expected = (
            ("nginx".to_owned(), "amd64".to_owned()),
            "1.22-9+deb12u2".to_owned(),
        );
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [expected]);

        let version = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let locked = [
            version("curl", "7"),
            version("nginx", "1.22"),
            version("x", "1"),
        ]
        .into();
        assert_eq!(offering(index, &locked), ["curl"].into());
    }

    #[test]
    fn newer_is_what_dpkg_calls_newer() {
        for (offered, have, expected) in [
            ("2", "1", true),
            ("1", "1", false),
            ("1.0-0", "1.0", false),
            ("1~rc1", "1", false),
            ("odd:", "1", false),
            ("1", "", false),
        ] {
            assert_eq!(is_newer(offered, have), expected, "{offered} over {have}");
        }
    }
}
