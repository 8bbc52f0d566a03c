//! `karat remove`: images go at once, unless something holds them.

use std::fs;
use std::process::Stdio;

use karat::record::manifest::ManifestId;

use crate::cli::Site;
use crate::pruned::{has_image, images};
use crate::trust::{code, said, succeed};

fn short(ids: &[ManifestId]) -> Vec<String> {
    ids.iter().map(ManifestId::short).collect()
}

#[test]
fn a_removed_image_goes_at_once_and_its_records_stay() {
    let site = Site::new();
    let ids = images(&site, &["web", "web", "mail"]);
    let [old, new, mail] = &short(&ids)[..] else {
        panic!("{ids:?}")
    };
    insta::assert_snapshot!("removed", said(&site, &["remove", new, mail]));
    assert_eq!(
        ids.iter()
            .map(|id| has_image(&site, *id))
            .collect::<Vec<_>>(),
        [true, false, false]
    );
    insta::assert_snapshot!("removed_list", said(&site, &["list"]));
    succeed(&site, &["verify", "--unsigned"]);
    succeed(&site, &["show", new]);
    let (exit, error) = code(&site, &["export", new, "-o", "out"]);
    assert!(
        exit == 1 && error.contains("is not in the store"),
        "{error}"
    );
    // A name means the newest image that is there.
    assert!(said(&site, &["show", "web"]).contains(old.as_str()));
    let log = said(&site, &["audit", "--last", "1"]);
    assert!(
        log.contains("remove") && log.contains(new.as_str()),
        "{log}"
    );
    let again = said(&site, &["remove", new]);
    assert!(
        again.starts_with("exit code: 0") && again.contains("was removed before"),
        "{again}"
    );
    // Built again, it is an image like any other.
    let built = site.put("web", b"web x");
    assert_eq!(built.short(), *new);
    assert!(
        has_image(&site, built) && !said(&site, &["list"]).contains(&format!("{new}  removed"))
    );
    succeed(&site, &["prune", "--grace", "0s"]);
    assert!(has_image(&site, built));
}

#[test]
fn what_holds_an_image_is_named_and_nothing_is_removed() {
    let site = Site::new();
    let ids = images(&site, &["web", "web", "mail", "base"]);
    let [first, second, mail, base] = &short(&ids)[..] else {
        panic!("{ids:?}")
    };
    let shop = site.put_on("shop", b"the shop", b"base xxx").short();
    for id in [first, second] {
        succeed(&site, &["promote", id, "web/stable"]);
    }
    succeed(&site, &["pin", mail, "--reason", "evidence"]);
    insta::assert_snapshot!(
        "held",
        said(&site, &["remove", &shop, first, second, mail, base])
    );
    for words in [
        &["remove", first][..],
        &["remove", second],
        &["remove", mail],
        &["remove", base],
    ] {
        let (exit, error) = code(&site, words);
        assert!(
            exit == 3 && error.contains("nothing was removed"),
            "{error}"
        );
    }
    assert!(ids.iter().all(|id| has_image(&site, *id)));
    // Released, each goes.
    succeed(&site, &["remove", first, "--keep", "1"]);
    succeed(&site, &["unpin", mail]);
    succeed(&site, &["remove", mail, base, &shop]);
    let left: Vec<_> = ids.iter().map(|id| has_image(&site, *id)).collect();
    assert_eq!(left, [false, true, false, false]);
    succeed(&site, &["verify", "--unsigned"]);
}

#[test]
fn removing_at_once_with_builds_promotions_and_exports_breaks_none_of_them() {
    let site = Site::new();
    let ids = images(&site, &["web", "web", "web", "web"]);
    let spawn = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    for (round, id) in ids.iter().enumerate() {
        let short = id.short();
        let target = format!("out.{round}");
        let export = spawn(&["export", &short, "-o", &target]);
        let removals = [spawn(&["remove", &short]), spawn(&["remove", &short])];
        let promote = spawn(&["promote", &short, "web/stable"]);
        let new = site.put("new", format!("new {round}").as_bytes());
        assert!(has_image(&site, new));
        for mut child in removals {
            child.wait().unwrap();
        }
        let moved = { promote }.wait().unwrap();
        // Either the channel holds the image, or it was removed before and the promotion was refused.
        assert_eq!(has_image(&site, *id), moved.success(), "round {round}");
        let exported = { export }.wait().unwrap();
        let path = site.path().join(target);
        assert_eq!(path.exists(), exported.success(), "round {round}");
        if exported.success() {
            let text = format!("web {}", "x".repeat(round));
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }
    let left = fs::read_dir(site.path()).unwrap();
    let left = left.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.')
    });
    assert_eq!(left.count(), 0, "no half of an export is left");
    succeed(&site, &["verify", "--unsigned"]);
}
