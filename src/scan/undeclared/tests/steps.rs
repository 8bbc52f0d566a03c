//! Changes between the tree that the packages left and the image.

use crate::disk::CleanedTree;
use crate::disk::tree::{Contents, Listing, Monitor};
use crate::os::hash_stream::Stop;

use super::super::{ACCOUNT_FILES, StepTrees};
use super::*;

const BLOCK_BYTES: usize = 4096;

fn listing(tree: &Planted) -> Listing {
    let root = tree.root();
    let monitor = Monitor {
        stop: &Stop::default(),
        progress: &|_| {},
    };
    let contents = Contents::read(root.tree(), root.files(), BLOCK_BYTES, 1, monitor).unwrap();
    Listing::of(root.tree(), &contents).unwrap()
}

fn undeclared(before: &Planted, after: &Planted, declared: &Declared) -> BTreeMap<String, String> {
    let text = |path: &&'static str| {
        let text = before.root().read(path.as_bytes(), 1 << 20).unwrap();
        (*path, text.unwrap_or_default())
    };
    let trees = StepTrees {
        before: CleanedTree {
            listing: listing(before),
            texts: ACCOUNT_FILES.iter().map(text).collect(),
        },
        after: listing(after),
        disk: None,
        times: Vec::new(),
    };
    let root = after.root();
    let packaged = verify(&root).unwrap();
    let base = base();
    let trees = Trees {
        image: &root,
        base: &base.root(),
        steps: Some(&trees),
        explain: true,
    };
    let (found, _) = check(&trees, &packaged, &observed(after), declared).unwrap();
    found
        .into_iter()
        .map(|finding| (finding.id, finding.evidence))
        .collect()
}

#[test]
fn every_change_of_a_step_is_found_wherever_it_is() {
    let before = built()
        .directory("/srv", 0o755)
        .file("/etc/shadow", 0o644, "root:!:1::::::\n")
        .file("/etc/subuid", 0o644, "");
    assert_eq!(undeclared(&before, &before, &declared()), BTreeMap::new());
    for ([id, words], after) in testing::cases::<2, 5, _>("undeclared/steps.tsv", &before, &texts())
    {
        let found = undeclared(&before, &after, &declared());
        let evidence = found.get(&id).unwrap_or_else(|| panic!("{id}: {found:?}"));
        assert!(found.len() == 1, "{id}: {found:?}");
        assert!(evidence.contains(&words), "{id}: {evidence}");
    }
}

#[test]
fn what_a_step_removes_is_found_unless_only_the_build_had_it() {
    let accounts = |passwd: &str, group: &str| {
        built()
            .file("/etc/passwd", 0o644, format!("{PASSWD}{passwd}"))
            .file(
                "/etc/group",
                0o644,
                format!("root:x:0:\nsudo:x:27:\n{group}"),
            )
    };
    let web = ("web:x:101:101::/:/bin/false\n", "web:x:101:\n");
    let user = "build:x:1000:1000::/:/bin/sh\n";
    let group = "build:x:1000:\n";
    let before = accounts(&[web.0, user].concat(), &[web.1, group].concat())
        .file("/srv/a/one", 0o644, "x")
        .file("/srv/a/two", 0o644, "x")
        .directory("/srv/a", 0o755);
    let accounts = |passwd: &str, group: &str| accounts(passwd, group).directory("/srv", 0o755);
    let after = accounts(web.0, web.1);
    let found = undeclared(&before, &after, &declared());
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(ids, ["undeclared-removal:/srv/a"]);
    assert!(found[ids[0]].contains("2 files below it"), "{found:?}");

    let found = undeclared(&before, &accounts("", ""), &declared());
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(ids, ["undeclared-removal:/srv/a"], "the base has no `web`");
    let after = before.clone().file("/etc/passwd", 0o644, web.0).file(
        "/etc/group",
        0o644,
        ["root:x:0:\nsudo:x:27:\n", web.1].concat(),
    );
    let found = undeclared(&before, &after, &declared());
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(ids, ["undeclared-user:root"]);
}

#[test]
fn what_is_declared_may_change() {
    let before = built().file("/etc/web/web.conf", 0o644, "x");
    let mut declared = declared();
    for path in ["/etc/web/**", "/srv/new/data", "user:app", "group:sudo/app"] {
        declared.creates.push(by("a step", path));
    }
    let after = built()
        .directory("/srv/new", 0o755)
        .file("/srv/new/data", 0o600, "x")
        .file("/etc/web/other.conf", 0o644, "x")
        .file(
            "/etc/passwd",
            0o644,
            format!("{PASSWD}web:x:101:101::/:/bin/false\napp:x:1:1::/:/bin/sh\n"),
        )
        .file(
            "/etc/group",
            0o644,
            "root:x:0:\nsudo:x:27:app\nweb:x:101:\napp:x:1:\n",
        )
        .file("/etc/shadow", 0o640, "app:!:1::::::\n")
        .file("/etc/resolv.conf", 0o644, "");
    let before = before.file("/etc/shadow", 0o640, "");
    assert_eq!(undeclared(&before, &after, &declared), BTreeMap::new());
}

#[test]
fn what_a_step_makes_is_not_accepted_with_a_package() {
    let mut inputs = inputs();
    let entry = json!({"path": "/srv/run", "package": "web", "reason": "its script"});
    let apt = inputs.packages.apt.as_mut().unwrap();
    apt.accept = vec![serde_json::from_value(entry).unwrap()];
    let declared = Declared {
        acceptable: Declared::new(ObservedState::default(), None, &inputs).acceptable,
        ..declared()
    };
    let tree = built().file("/srv/run", 0o755, "x");
    assert_eq!(undeclared(&tree, &tree, &declared), BTreeMap::new());
    let found = undeclared(&built().directory("/srv", 0o755), &tree, &declared);
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        ids,
        ["undeclared-file:/srv/run", "unused-exception:/srv/run"]
    );
}

#[test]
fn services_may_make_directories_in_the_state_of_their_package() {
    let before = built()
        .file(
            "/var/lib/dpkg/info/web.list",
            0o644,
            "/var/lib/web\n/etc/web\n",
        )
        .directory("/var/lib/web", 0o755)
        .directory("/etc/web", 0o755);
    let after = before
        .clone()
        .directory("/var/lib/web/body", 0o700)
        .file("/var/lib/web/body/file", 0o644, "x")
        .directory("/var/lib/web/empty", 0o700)
        .directory("/var/lib/other", 0o700)
        .directory("/etc/web/empty", 0o755);
    let found = undeclared(&before, &after, &declared());
    let mut ids: Vec<&str> = found.keys().map(String::as_str).collect();
    ids.retain(|id| !id.contains("/usr/") && !id.contains("/etc/systemd"));
    assert_eq!(
        ids,
        [
            "undeclared-file:/etc/web/empty",
            "undeclared-file:/var/lib/other",
            "undeclared-file:/var/lib/web/body/file",
        ]
    );
}

#[test]
fn an_undeclared_package_stands_for_its_files() {
    let after = built()
        .file(
            "/var/lib/dpkg/status",
            0o644,
            status(&[BASE, WEB, ("extra", "1", "")]),
        )
        .file("/var/lib/dpkg/info/extra.list", 0o644, "/usr/share/extra\n")
        .file("/usr/share/extra", 0o644, "x")
        .file("/usr/share/other", 0o644, "x");
    let found = undeclared(&built(), &after, &declared());
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        ids,
        [
            "undeclared-file:/usr/share/other",
            "undeclared-package:extra"
        ]
    );
}
