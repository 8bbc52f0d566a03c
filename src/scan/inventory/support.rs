//! Packages with ended or limited support: the lists of Debian's package `debian-security-support`.

use super::{Ended, Release, Support};
use crate::scan::{Root, ScanError};

const DIRECTORY: &str = "/usr/share/debian-security-support";
/// The lists have a few dozen lines.
const MAX_LIST_BYTES: u64 = 1 << 20;

/// Kind of a list, by its file name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum List {
    /// Ended support in this release.
    Ended(String),
    /// Limited support in this release, or in all.
    Limited(Option<String>),
}

impl List {
    /// Returns the kind of the file `name`, or `None` for any other file.
    pub fn of(name: &str) -> Option<Self> {
        if let Some(release) = name.strip_prefix("security-support-ended.deb") {
            return Some(Self::Ended(release.to_owned()));
        }
        let rest = name.strip_prefix("security-support-limited")?;
        match rest.strip_prefix(".deb") {
            Some(release) => Some(Self::Limited(Some(release.to_owned()))),
            None => rest.is_empty().then_some(Self::Limited(None)),
        }
    }

    /// Parses a list. Invalid lines are skipped, as the package itself does.
    pub fn parse(&self, text: &str) -> Vec<Support> {
        let lines = text.lines().map(str::trim_ascii);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .filter_map(|line| match self {
                Self::Ended(_) => ended(line),
                Self::Limited(_) => Some(limited(line)),
            })
            .collect()
    }
}

fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text
        .split_once(|character: char| character.is_ascii_whitespace())
        .unwrap_or((text, ""));
    (word, rest.trim_ascii())
}

fn ended(line: &str) -> Option<Support> {
    let (source, rest) = word(line);
    let (version, rest) = word(rest);
    let (day, reason) = word(rest);
    (!day.is_empty()).then(|| Support {
        source: source.to_owned(),
        ended: Some(Ended {
            version: version.to_owned(),
            day: day.to_owned(),
        }),
        reason: reason.to_owned(),
    })
}

fn limited(line: &str) -> Support {
    let (source, reason) = word(line);
    Support {
        source: source.to_owned(),
        ended: None,
        reason: reason.to_owned(),
    }
}

impl Support {
    /// Returns whether the entry covers this source package.
    pub(crate) fn is_of(&self, source: &str) -> bool {
        match self.source.strip_suffix(".*") {
            Some(start) => source.starts_with(start),
            None => self.source == source,
        }
    }
}

/// Reads the image's own lists for its release.
pub fn read(root: &Root<'_>, release: Option<&Release>) -> Result<Vec<Support>, ScanError> {
    let Some(release) = release.filter(|release| release.id == "debian") else {
        return Ok(Vec::new());
    };
    let number = release.version.split('.').next().unwrap_or_default();
    let mut all = Vec::new();
    for name in [
        format!("security-support-ended.deb{number}"),
        "security-support-limited".to_owned(),
        format!("security-support-limited.deb{number}"),
    ] {
        let path = format!("{DIRECTORY}/{name}");
        if let (Some(bytes), Some(list)) =
            (root.read(path.as_bytes(), MAX_LIST_BYTES)?, List::of(&name))
        {
            all.extend(list.parse(&String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_by_their_names() {
        for (name, expected) in [
            (
                "security-support-ended.deb12",
                Some(List::Ended("12".to_owned())),
            ),
            ("security-support-limited", Some(List::Limited(None))),
            (
                "security-support-limited.deb11",
                Some(List::Limited(Some("11".to_owned()))),
            ),
            ("security-support-limited~", None),
            ("status", None),
        ] {
            assert_eq!(List::of(name), expected, "{name}");
        }
    }

    #[test]
    fn lines_are_read_with_any_blanks_between() {
        let text = "# comment\n\nwpewebkit\t2.38.6-1\t\t2023-05-09\thttps://example.org/1\nphp-horde.*\t0\t2025-03-22\nbroken 1\n";
        let ended = List::Ended("12".to_owned()).parse(text);
        let shown: Vec<_> = ended
            .iter()
            .map(|one| {
                let end = one.ended.as_ref().unwrap();
                [&one.source, &end.version, &end.day, &one.reason].map(String::as_str)
            })
            .collect();
        assert_eq!(
            shown,
            [
                [
                    "wpewebkit",
                    "2.38.6-1",
                    "2023-05-09",
                    "https://example.org/1"
                ],
                ["php-horde.*", "0", "2025-03-22", ""],
            ]
        );
        assert!(ended[1].is_of("php-horde-core") && !ended[1].is_of("php"));
        let limited = List::Limited(None).parse("binutils  Only for trusted content\n");
        assert_eq!(limited[0].reason, "Only for trusted content");
        assert!(limited[0].is_of("binutils") && !limited[0].is_of("binutils-arm"));
    }
}
