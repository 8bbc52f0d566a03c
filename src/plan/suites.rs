//! Code names of releases, to notice misspelt ones. Which suites exist is for the archive to say.

use super::Bootstrap;
use super::lint::LintWarning;
use crate::template::problem::nearest;

const DEBIAN: [&str; 12] = [
    "buster",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];
const UBUNTU: [&str; 8] = [
    "focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute", "devel",
];

/// Versions of the releases that their users know by number.
const VERSIONS: [(&str, &str, &str); 11] = [
    ("debian", "11", "bullseye"),
    ("debian", "12", "bookworm"),
    ("debian", "13", "trixie"),
    ("debian", "14", "forky"),
    ("ubuntu", "20.04", "focal"),
    ("ubuntu", "22.04", "jammy"),
    ("ubuntu", "24.04", "noble"),
    ("ubuntu", "24.10", "oracular"),
    ("ubuntu", "25.04", "plucky"),
    ("ubuntu", "25.10", "questing"),
    ("ubuntu", "26.04", "resolute"),
];

/// Returns advice for text that is not a code name, such as a version.
pub(super) fn code_name(distribution: &str, text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let version = lower.split_whitespace().next().unwrap_or_default();
    let of_version = VERSIONS
        .iter()
        .find(|row| (row.0, row.1) == (distribution, version));
    let mut known = DEBIAN.iter().chain(&UBUNTU);
    match (of_version, distribution) {
        (Some((_, _, name)), _) => format!("write {name:?}"),
        _ if known.any(|name| *name == lower) => format!("write {lower:?}"),
        (None, "ubuntu") => "write the code name of a release, as in \"noble\"".to_owned(),
        (None, _) => "write the code name of a release, as in \"bookworm\"".to_owned(),
    }
}

impl Bootstrap {
    /// Returns the way to write a suite that is misspelt, or is of another distribution.
    #[must_use]
    pub(crate) fn suite_hint(&self) -> Option<String> {
        let suite = self.suite.as_str();
        let (own, (other, others)) = match self.distribution.as_str() {
            "ubuntu" => (&UBUNTU[..], ("debian", &DEBIAN[..])),
            _ => (&DEBIAN[..], ("ubuntu", &UBUNTU[..])),
        };
        if own.contains(&suite) {
            return None;
        }
        if others.contains(&suite) {
            return Some(format!(
                "write `distribution = \"{other}\"`: {suite} is one of its releases"
            ));
        }
        let near = nearest(suite, own.iter().copied())?;
        Some(format!("did you mean `suite = \"{near}\"`?"))
    }

    pub(super) fn lint(&self) -> Option<LintWarning> {
        let Self {
            distribution,
            suite,
            ..
        } = self;
        let what = || format!("{distribution} has no release `{suite}` that karat knows");
        self.suite_hint().map(|help| LintWarning::new(what(), help))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arch;

    #[test]
    fn a_version_gets_its_code_name() {
        for (distribution, text, help) in [
            ("ubuntu", "24.04", "write \"noble\""),
            ("ubuntu", "24.04 LTS", "write \"noble\""),
            ("debian", "12", "write \"bookworm\""),
            ("debian", "Bookworm", "write \"bookworm\""),
            (
                "debian",
                "24.04",
                "write the code name of a release, as in \"bookworm\"",
            ),
            (
                "ubuntu",
                "latest",
                "write the code name of a release, as in \"noble\"",
            ),
        ] {
            assert_eq!(code_name(distribution, text), help, "{distribution} {text}");
        }
    }

    #[test]
    fn a_suite_that_is_nearly_one_gets_a_hint() {
        for (distribution, suite, hint) in [
            ("debian", "bookworm", None),
            (
                "debian",
                "bokworm",
                Some("did you mean `suite = \"bookworm\"`?"),
            ),
            (
                "debian",
                "noble",
                Some("write `distribution = \"ubuntu\"`: noble is one of its releases"),
            ),
            (
                "ubuntu",
                "bookworm",
                Some("write `distribution = \"debian\"`: bookworm is one of its releases"),
            ),
            ("ubuntu", "nobel", Some("did you mean `suite = \"noble\"`?")),
            ("debian", "kirkstone", None),
        ] {
            let base = Bootstrap {
                distribution: distribution.to_owned(),
                suite: suite.to_owned(),
                ..Bootstrap::default_for(Arch::X86_64)
            };
            assert_eq!(base.suite_hint().as_deref(), hint, "{distribution} {suite}");
        }
    }
}
