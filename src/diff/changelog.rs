//! CVEs in the changelog of a Debian package.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::distro::debian::version::Version;

/// Returns the CVEs that changelog entries newer than `since` name, or `None` for text that is not a changelog. Entries
/// are expected newest first, as Debian writes them; reading stops at `since`.
pub fn cves(changelog: &str, since: &str) -> Option<BTreeSet<String>> {
    static HEAD: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[a-z0-9][a-z0-9+.-]+ \(([^() ]+)\)").expect("the pattern is valid")
    });
    static CVE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?-u:\b)CVE-[0-9]{4}-[0-9]{4,}(?-u:\b)").expect("the pattern is valid")
    });
    let since = Version::parse(since).ok()?;
    let (mut found, mut entries) = (BTreeSet::new(), 0);
    for line in changelog.lines() {
        if let Some(head) = HEAD.captures(line) {
            entries += 1;
            // A version that dpkg rejects is older than its rules.
            if Version::parse(&head[1]).is_ok_and(|version| version <= since) {
                break;
            }
        }
        found.extend(CVE.find_iter(line).map(|cve| cve.as_str().to_owned()));
    }
    (entries > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
tool (1:2.0-3) bookworm-security; urgency=high

  * Fix CVE-2026-0003 and CVE-2026-00004: overflow (CVE-2026-0003).

 -- A <a@example.org>  Mon, 01 Jan 2026 00:00:00 +0000

tool (1:2.0-2) bookworm; urgency=medium

  * CVE-2025-123456, not XCVE-2025-9999 nor CVE-2025-12

 -- A <a@example.org>  Mon, 01 Dec 2025 00:00:00 +0000

tool (1:2.0-1) bookworm; urgency=medium

  * CVE-2024-0001
";

    #[test]
    fn newer_entries_name_what_was_fixed() {
        for (since, expected) in [
            ("1:2.0-3", Some("")),
            ("1:2.0-2+b1", Some("CVE-2026-00004 CVE-2026-0003")),
            ("1:2.0-2", Some("CVE-2026-00004 CVE-2026-0003")),
            (
                "1:2.0-1",
                Some("CVE-2025-123456 CVE-2026-00004 CVE-2026-0003"),
            ),
            (
                "1.0",
                Some("CVE-2024-0001 CVE-2025-123456 CVE-2026-00004 CVE-2026-0003"),
            ),
            ("no version", None),
        ] {
            let found = cves(TEXT, since);
            let found = found.map(|cves| cves.into_iter().collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{since}");
        }
        assert_eq!(cves("A link to a web page\nCVE-2026-0001\n", "1"), None);
    }
}
