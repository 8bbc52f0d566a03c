//! Names of images and channels as people mistype them. The name that a hint gives works in place of the mistyped one.

use crate::cli::Site;
use crate::pruned::{has_image, images};
use crate::trust::{code, said, succeed};

/// Returns the site with `debian-web/stable`, which has pointed at two images.
fn site() -> Site {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    for bytes in [&b"the web"[..], b"another web"] {
        let id = site.put("debian-web", bytes).short();
        succeed(&site, &["sign", &id]);
        let forced = [
            "promote",
            &id,
            "debian-web/stable",
            "--force",
            "--reason",
            "a test",
        ];
        succeed(&site, &forced);
    }
    site
}

/// Returns the first name after `did you mean`.
fn hint(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("did you mean ")?;
    let end = rest.find(['?', ' '])?;
    Some(rest[..end].trim_matches('`'))
}

#[test]
fn a_mistyped_name_gets_a_hint_that_works() {
    let site = site();
    let forced = ["--force", "--reason", "a test"];
    for (words, wrong, right) in [
        (&["show", "WRONG"][..], "debian-wbe", "debian-web"),
        (&["show", "WRONG"], "debian-web:latest", "debian-web@latest"),
        (&["show", "WRONG"], "debian-web@newest", "debian-web@latest"),
        (&["show", "WRONG"], "debian-web:stable", "debian-web/stable"),
        (&["show", "WRONG"], "debian-web/stabel", "debian-web/stable"),
        (&["show", "WRONG"], "stable", "debian-web/stable"),
        (&["verify", "WRONG"], "debian-wbe", "debian-web"),
        (
            &["verify", "WRONG"],
            "debian-web/stabel",
            "debian-web/stable",
        ),
        (
            &["export", "WRONG", "-o", "out"],
            "debian-wbe",
            "debian-web",
        ),
        (
            &["diff", "WRONG", "debian-web"],
            "stable",
            "debian-web/stable",
        ),
        (&["history", "WRONG"], "stable", "debian-web/stable"),
        (&["history", "WRONG"], "debian-web", "debian-web/stable"),
        (
            &["history", "WRONG"],
            "debian-web:stable",
            "debian-web/stable",
        ),
        (
            &["wait", "WRONG", "--after", "0"],
            "stable",
            "debian-web/stable",
        ),
        (
            &["wait", "WRONG", "--after", "0"],
            "debian-web",
            "debian-web/stable",
        ),
        (
            &["promote", "debian-web", "WRONG"],
            "stable",
            "debian-web/stable",
        ),
        (
            &["promote", "debian-web", "WRONG"],
            "testing",
            "debian-web/testing",
        ),
        (
            &["rollback", "WRONG", "--check"],
            "debian-web/stabel",
            "debian-web/stable",
        ),
        (
            &["rollback", "debian-web", "--check", "--channel", "WRONG"],
            "stable",
            "debian-web/stable",
        ),
    ] {
        let with = |name: &str| -> Vec<String> {
            let words = words.iter().map(|word| word.replace("WRONG", name));
            let is_move = ["promote", "rollback"].contains(&words.clone().next().unwrap().as_str());
            let forced = forced
                .iter()
                .filter(|_| is_move)
                .map(|word| (*word).to_owned());
            words.chain(forced).collect()
        };
        let run = |words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            code(&site, &words)
        };
        let (exit, error) = run(&with(wrong));
        assert_eq!(
            (exit, hint(&error)),
            (2, Some(right)),
            "{words:?} {wrong}: {error}"
        );
        succeed_with(run(&with(right)), words);
    }
    let (exit, error) = code(
        &site,
        &["scan", "debian-wbe", "--without", "vulnerabilities"],
    );
    assert_eq!((exit, hint(&error)), (2, Some("debian-web")), "{error}");
}

fn succeed_with((exit, error): (i32, String), words: &[&str]) {
    assert_eq!(exit, 0, "{words:?}: {error}");
}

#[test]
fn waiting_for_a_channel_that_does_not_exist_warns_of_a_similar_one() {
    let site = site();
    for (channel, expected) in [
        ("debian-web/stabel", Some("debian-web/stable")),
        ("mail/nightly", None),
    ] {
        let (exit, error) = code(&site, &["wait", channel, "--timeout", "1s"]);
        assert_eq!((exit, hint(&error)), (1, expected), "{error}");
    }
}

#[test]
fn the_list_shows_the_images_of_a_name() {
    let site = site();
    site.put("mail", b"the mail");
    let list = said(&site, &["list", "mail"]);
    assert!(
        list.contains("mail") && !list.contains("debian-web"),
        "{list}"
    );
    for wrong in ["debian-wbe", "debian-web/stable", "debian-web@latest"] {
        let (exit, error) = code(&site, &["list", wrong]);
        assert_eq!((exit, hint(&error)), (0, Some("debian-web")), "{error}");
    }
}

#[test]
fn a_name_that_several_images_have_chooses_none_to_remove_or_revoke() {
    let site = Site::new();
    let ids = images(&site, &["web", "web", "mail"]);
    let [old, new, _] = ids[..] else {
        panic!("{ids:?}")
    };
    for words in [
        &["remove", "web"][..],
        &["revoke", "web", "--reason", "bad"],
    ] {
        let (exit, error) = code(&site, words);
        assert!(
            exit == 2 && error.contains("2 images have the name web"),
            "{error}"
        );
        assert!(
            error.contains(&old.short()) && error.contains(&new.short()),
            "{error}"
        );
        assert!(error.contains("web@latest"), "{error}");
    }
    let dry = said(&site, &["remove", "web@latest", "mail", "--dry-run"]);
    assert!(
        dry.contains("would free") && dry.contains("nothing was changed"),
        "{dry}"
    );
    assert!(ids.iter().all(|id| has_image(&site, *id)));
    succeed(&site, &["remove", "web@latest", "mail"]);
    // One image has the name now.
    succeed(&site, &["remove", "web"]);
    assert!(!ids.iter().any(|id| has_image(&site, *id)));
}

#[test]
fn the_advice_on_an_image_that_a_channel_holds_can_be_followed() {
    let site = Site::new();
    let ids = images(&site, &["web", "web"]);
    let [first, second] = &ids[..] else {
        panic!("{ids:?}")
    };
    let (first, second) = (first.short(), second.short());
    succeed(&site, &["promote", &first, "web/stable"]);
    let (exit, error) = code(&site, &["remove", &first]);
    assert!(
        exit == 3
            && error.contains("`karat promote ID web/stable`")
            && !error.contains("karat rollback"),
        "{error}"
    );
    succeed(&site, &["promote", &second, "web/stable"]);
    let (_, error) = code(&site, &["remove", &second]);
    assert!(error.contains("`karat rollback web/stable`"), "{error}");
    succeed(&site, &["rollback", "web/stable"]);
    succeed(&site, &["remove", &second]);
}

#[test]
fn no_verb_creates_a_mistyped_store() {
    let site = Site::new();
    succeed(&site, &["keys", "generate"]);
    for words in [
        &["list"][..],
        &["show", "web"],
        &["diff", "web", "web"],
        &["history"],
        &["wait", "web/stable", "--timeout", "1s"],
        &["promote", "web", "web/stable"],
        &["rollback", "web/stable"],
        &["revoke", "web", "--reason", "bad"],
        &["verify", "--unsigned"],
        &["sign", "web"],
        &["audit"],
        &["audit", "verify"],
        &["audit", "checkpoint"],
        &["pin", "web"],
        &["unpin", "web"],
        &["remove", "web"],
        &["prune"],
        &["prune", "--dry-run"],
        &["prune", "--grace", "0s", "--keep-within", "0s"],
        &["store", "status"],
        &["export", "web", "-o", "out"],
        &["doctor"],
    ] {
        let (_, error) = code(&site, &[words, &["--store", "mistyped"]].concat());
        assert!(!site.path().join("mistyped").exists(), "{words:?}: {error}");
        if words[0] == "prune" {
            assert!(error.contains("no store at mistyped"), "{error}");
        }
    }
}
