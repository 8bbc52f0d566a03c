//! Every check on a tree with a planted problem, and on clean trees.

use std::collections::BTreeSet;

use super::table::CHECKS;
use super::*;
use crate::disk::clean::rules::RULES;
use crate::scan::testing::{self, Planted};

/// Texts of the clean tree that cases extend.
const TEXTS: [(&str, &str); 3] = [
    (
        "{PASSWD}",
        "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    (
        "{SHADOW}",
        "root:*:19000:0:99999:7:::\n_apt:*:19000:::::::\nnobody:!:19000:::::::\n",
    ),
    (
        "{SSHD}",
        "# Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nUsePAM yes\n",
    ),
];

/// A machine without problems.
fn clean() -> Planted {
    Planted::default().table("hygiene/clean.tsv", &TEXTS)
}

/// Returns the check and the tree of each case of a table. Each check has one case at least in `cases.tsv`.
fn cases(name: &str) -> impl Iterator<Item = (String, Planted)> {
    let cases = testing::cases::<1, 4, _>(name, &clean(), &TEXTS);
    cases.into_iter().map(|([check], tree)| (check, tree))
}

fn ids(tree: &Planted) -> BTreeSet<String> {
    let findings = check(&tree.root()).unwrap();
    findings.into_iter().map(|finding| finding.check).collect()
}

#[test]
fn nothing_is_found_in_a_clean_tree() {
    let found = check(&clean().root()).unwrap();
    assert_eq!(found, []);
    assert_eq!(
        check(&Planted::default().root()).unwrap(),
        [],
        "in an empty one"
    );
}

#[test]
fn every_check_finds_what_is_planted_for_it() {
    for (number, (check, tree)) in cases("hygiene/cases.tsv").enumerate() {
        let found = ids(&tree);
        assert!(
            found.contains(&check),
            "case {number}: {check} is not in {found:?}"
        );
    }
}

#[test]
fn no_check_is_without_a_case_and_no_rule_without_a_check() {
    assert!(CHECKS.len() >= 45, "{}", CHECKS.len());
    let tested: BTreeSet<_> = cases("hygiene/cases.tsv").map(|(check, _)| check).collect();
    let all: BTreeSet<_> = CHECKS.iter().map(|check| check.id.clone()).collect();
    assert_eq!(all.len(), CHECKS.len(), "an id is there twice");
    assert_eq!(tested, all);
    let rules: Vec<_> = CHECKS
        .iter()
        .filter_map(|check| check.rule.as_deref())
        .collect();
    let expected: Vec<_> = RULES.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(rules, expected);
}

#[test]
fn no_finding_shows_a_secret_and_each_says_how_to_mend_it() {
    for (check_id, tree) in cases("hygiene/cases.tsv") {
        for finding in check(&tree.root()).unwrap() {
            let text = format!("{finding:?}");
            for secret in [
                "hunter2",
                "pass@",
                "password pass",
                "abcdefgh",
                "abJnggxhB",
                "AAAA",
            ] {
                assert!(!text.contains(secret), "{check_id}: {text}");
            }
            assert!(
                !finding.fix.is_empty() && !finding.evidence.is_empty(),
                "{check_id}"
            );
            assert!(finding.id.starts_with(&finding.check), "{check_id}");
        }
    }
}

#[test]
fn what_is_harmless_is_not_found() {
    for (check, tree) in cases("hygiene/harmless.tsv") {
        let found = ids(&tree);
        assert!(!found.contains(&check), "{check} is in {found:?}");
    }
}

#[test]
fn many_left_overs_of_a_kind_are_counted() {
    let mut tree = clean();
    for number in 0..30 {
        tree = tree.file(&format!("/var/log/{number:02}.log"), 0o640, "x");
    }
    let found = check(&tree.root()).unwrap();
    let logs: Vec<_> = found
        .iter()
        .filter(|finding| finding.check == "log")
        .collect();
    assert_eq!(logs.len(), 10);
    assert!(
        logs[9].evidence.ends_with("; and 20 more"),
        "{}",
        logs[9].evidence
    );
}

proptest::proptest! {
    /// With any text in the files that checks read, they report something, nothing or an error.
    #[test]
    fn no_text_makes_a_check_panic(
        text in "([ -~\\n\\t]|[=:/@!$\\[\\]{}\"'\\\\]|\u{e9}|Match |Include |deb |NOPASSWD|://|password=){0,60}",
    ) {
        let mut tree = clean();
        for path in [
            "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/a.conf", "/etc/apt/sources.list", "/etc/apt/sources.list.d/a.sources",
            "/etc/apt/apt.conf.d/a", "/etc/pip.conf", "/etc/doas.conf", "/etc/gshadow", "/etc/crypttab", "/etc/yum.repos.d/a.repo", "/etc/fstab", "/boot/grub/grub.cfg",
            "/etc/environment", "/etc/.updated", "/var/lib/dpkg/info/a.list", "/root/.ssh/authorized_keys",
            "/etc/netplan/a.yaml", "/var/lib/dpkg/status", "/var/lib/dpkg/info/a.md5sums",
            "/var/lib/dpkg/info/a.postinst", "/var/lib/dpkg/diversions", "/var/lib/dpkg/alternatives/a",
            "/usr/lib/sysusers.d/a.conf", "/usr/local/bin/a",
        ] {
            tree = tree.file(path, 0o644, text.as_str());
        }
        let root = tree.root();
        // A configuration of sshd that includes itself is an error.
        let checked = check(&root);
        proptest::prop_assert!(matches!(checked, Ok(_) | Err(ScanError::Damaged { .. })), "{checked:?}");
        if let Ok(packaged) = crate::scan::integrity::verify(&root) {
            let declared = crate::scan::undeclared::Declared::default();
            let now = crate::scan::undeclared::ObservedState::collect(&root, &packaged).unwrap();
            let trees = crate::scan::undeclared::Trees { image: &root, base: &root, steps: None, explain: true };
            let _ = crate::scan::undeclared::check(&trees, &packaged, &now, &declared).unwrap();
        }
    }
}

#[test]
fn a_configuration_of_sshd_that_includes_itself_ends_in_an_error() {
    let tree = clean()
        .file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "Include sshd_config.d/*.conf\n",
        )
        .file(
            "/etc/ssh/sshd_config.d/b.conf",
            0o644,
            "Include sshd_config.d/*.conf\n",
        );
    let error = check(&tree.root()).unwrap_err();
    assert!(matches!(error, ScanError::Damaged { .. }), "{error}");
}
