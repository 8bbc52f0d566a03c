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
        self.suite_hint().map(|help| LintWarning {
            what: format!("{distribution} has no release `{suite}` that karat knows"),
            help,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arch;

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
