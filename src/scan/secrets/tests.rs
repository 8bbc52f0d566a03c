//! Findings in planted files: their evidence, their number, and what is skipped.

use std::collections::HashSet;

use super::rule::Rules;
use super::rules::RULES;
use super::search_files;
use crate::scan::Severity;
use crate::scan::testing::Planted;

mod corpus;

use corpus::{ALNUM, some};
pub(super) use corpus::{UPPER, checked, gzip};

#[test]
fn packaged_files_are_left_out_and_a_file_with_two_names_is_looked_at_once() {
    let tree = Planted::default().file("/a", 0o644, checked("ghp_"));
    let root = tree.root();
    let index = root.tree().find(b"/a").unwrap();
    assert_eq!(search_files(&root, &HashSet::from([index])).unwrap(), []);
    assert_eq!(search_files(&root, &HashSet::new()).unwrap().len(), 1);
}

#[test]
fn what_python_compiled_from_a_packaged_file_is_left_out_with_it() {
    let tree = Planted::default()
        .file("/p/a.py", 0o644, "")
        .file("/p/__pycache__/a.cpython-311.pyc", 0o644, checked("ghp_"))
        .file(
            "/p/__pycache__/a.cpython-311.opt-1.pyc",
            0o644,
            checked("ghp_"),
        )
        .file("/p/__pycache__/b.cpython-311.pyc", 0o644, checked("ghp_"))
        .file(
            "/p/__pycache__/deep/a.cpython-311.pyc",
            0o644,
            checked("ghp_"),
        )
        .file("/p/a.pyc", 0o644, checked("ghp_"));
    let root = tree.root();
    let source = root.tree().find(b"/p/a.py").unwrap();
    for (skip, expected) in [(HashSet::from([source]), 3), (HashSet::new(), 5)] {
        let found = search_files(&root, &skip).unwrap();
        assert_eq!(found.len(), expected, "{found:?}");
    }
}

#[test]
fn evidence_says_where_and_how_long_and_what_is_proved() {
    let token = checked("ghp_");
    let text = format!("one\ntwo {token}\n\nfour {token}\n");
    let tree = Planted::default().file("/a", 0o644, text);
    let found = search_files(&tree.root(), &HashSet::new()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let digest = &crate::digest::Digest::of(token.as_bytes()).hex()[..8];
    let each = format!(
        "40 characters that begin with `ghp_`, digest {digest}..., checksum or format verified"
    );
    assert_eq!(found[0].evidence, format!("line 2: {each}; line 4: {each}"));
    assert_eq!(found[0].severity, Severity::Critical);
    let tree = Planted::default().file("/root/.pgpass", 0o600, "h:5432:a:b:f00lish\n");
    let found = search_files(&tree.root(), &HashSet::new()).unwrap();
    assert_eq!(
        found[0].evidence, "line 1: 7 characters",
        "a chosen password could be guessed from its digest"
    );
}

#[test]
fn secrets_are_found_once_at_the_borders_of_pieces_and_parts() {
    let token = checked("ghp_");
    for border in [1 << 20, 4 << 20] {
        for before in [0, 1, 20, 39, 40, 41] {
            let mut content = vec![b'.'; border - before];
            content.extend(format!(" {token} ").bytes());
            content.extend(vec![b'.'; 100_000]);
            let tree = Planted::default().file("/big", 0o644, content);
            let found = search_files(&tree.root(), &HashSet::new()).unwrap();
            assert_eq!(found.len(), 1, "{before} before {border}");
            assert!(
                !found[0].evidence.contains(';'),
                "{before} before {border}: {}",
                found[0].evidence
            );
        }
    }
}

#[test]
fn what_cannot_be_unpacked_is_searched_as_far_as_it_goes() {
    let token = checked("ghp_");
    let mut cut = gzip(format!("{token}\n{}", some(ALNUM, 4000)));
    cut.truncate(cut.len() - 100);
    let tree = Planted::default().file("/a.gz", 0o644, cut).file(
        "/b.gz",
        0o644,
        b"\x1f\x8b\x08junk".to_vec(),
    );
    let found = search_files(&tree.root(), &HashSet::new()).unwrap();
    let ids: Vec<_> = found.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "secret:github-token:/a.gz",
            "secret-not-searched:/a.gz",
            "secret-not-searched:/b.gz"
        ]
    );
    assert!(
        found[0].evidence.starts_with("unpacked, line 1: "),
        "{}",
        found[0].evidence
    );
}

#[test]
fn every_rule_has_a_pattern_anchors_or_names_of_files_and_a_name_of_its_own() {
    let mut names = HashSet::new();
    for (index, rule) in RULES.iter().enumerate() {
        assert!(names.insert(&rule.name), "{} twice", rule.name);
        let whole = matches!(rule.files, super::rule::Files::Named(_));
        assert!(!rule.anchors.is_empty() || whole, "{}", rule.name);
        assert!(!rule.title.is_empty(), "{}", rule.name);
        assert!(rule.severity >= Severity::High, "{}", rule.name);
        let groups = Rules::get().pattern(index).captures_len();
        assert!(groups > 1, "{} has no group for the secret", rule.name);
        assert!(
            rule.within <= super::text::LOOKAHEAD_BYTES
                && rule.before <= super::text::LOOKBEHIND_BYTES,
            "{}",
            rule.name
        );
    }
}
