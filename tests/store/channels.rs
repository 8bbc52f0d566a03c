//! Channels: promoted, rolled back, rehearsed, fought over.

use std::fs;
use std::process::{Child, Stdio};

use karat::digest::Digest;
use karat::record::canonical;
use karat::record::channel::{Channel, ChannelName, Direction, SignedMove};
use karat::record::manifest::ManifestId;
use karat::scan::report::policy::Verdict;
use serde_json::Value;

use crate::cli::Site;
use crate::trust::{code, said, scanned, succeed};

/// A store with three signed and scanned builds of one image, the first with a vulnerability that the others have not.
fn builds() -> (Site, [ManifestId; 3]) {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    let ids = [&b"one"[..], b"two", b"three"].map(|image| {
        let id = site.put("web", image);
        succeed(&site, &["sign", &id.to_string()]);
        let found: &[&str] = if image == b"one" {
            &["CVE-2026-1"]
        } else {
            &[]
        };
        scanned(&site, id, found, &Verdict::Told);
        id
    });
    (site, ids)
}

fn channel(site: &Site) -> Channel {
    let name: ChannelName = "web/stable".parse().unwrap();
    site.store.channel(&name).unwrap()
}

fn head(site: &Site) -> Option<ManifestId> {
    channel(site).head().map(|head| head.manifest)
}

/// Without what differs from run to run.
fn plain(site: &Site, text: &str) -> String {
    let host = rustix::system::uname();
    let mut text = text.replace(
        &format!("@{}", host.nodename().to_string_lossy()),
        "@[HOST]",
    );
    for kept in channel(site).moves {
        text = text.replace(&kept.entry.moved.to_string(), "[TIME]");
    }
    text
}

#[test]
fn a_channel_goes_forward_and_back_and_keeps_its_history() {
    let (site, [one, two, three]) = builds();
    let promote = |id: ManifestId| {
        let text = said(
            &site,
            &["promote", &id.short(), "web/stable", "--reason", "green"],
        );
        assert!(text.starts_with("exit code: 0"), "{text}");
    };
    promote(one);
    promote(two);
    promote(three);
    insta::assert_snapshot!(
        "rollback",
        said(
            &site,
            &["rollback", "web/stable", "--reason", "it does not boot"]
        )
    );
    assert_eq!(head(&site), Some(two));
    // Again: to the one before, over what was mended since.
    insta::assert_snapshot!("rollback_reopens", said(&site, &["rollback", "web/stable"]));
    assert_eq!(head(&site), Some(two));
    succeed(
        &site,
        &["rollback", "web/stable", "--reason", "worse still"],
    );
    assert_eq!(head(&site), Some(one));
    insta::assert_snapshot!("nothing_before", said(&site, &["rollback", "web/stable"]));
    promote(three);
    // By id, the channel being the only one that had it.
    succeed(&site, &["rollback", &one.short(), "--reason", "again"]);
    assert_eq!(head(&site), Some(one));
    insta::assert_snapshot!(
        "history",
        plain(&site, &said(&site, &["history", "web/stable"]))
    );
    insta::assert_snapshot!("channels", plain(&site, &said(&site, &["history"])));
    // A channel stands for what it points to.
    let shown = said(&site, &["show", "web/stable"]);
    assert!(shown.contains(&one.to_string()), "{shown}");
    succeed(&site, &["verify", "web/stable"]);
    succeed(&site, &["export", "web/stable", "-o", "web.qcow2"]);
    assert_eq!(fs::read(site.path().join("web.qcow2")).unwrap(), b"one");
    succeed(&site, &["promote", "web/stable", "web/testing"]);
    let already = said(&site, &["promote", &one.short(), "web/stable"]);
    assert!(
        already.contains("points at") && already.contains("already"),
        "{already}"
    );
    assert_eq!(channel(&site).number(), 7);
    succeed(&site, &["verify"]);
}

#[test]
fn nothing_moves_that_is_not_proved() {
    let (site, [one, two, _]) = builds();
    succeed(&site, &["promote", &one.short(), "web/stable"]);
    let before = fs::read(site.store.root().join("channels/web/stable.json")).unwrap();
    let stays = |what: &str| {
        let now = fs::read(site.store.root().join("channels/web/stable.json")).unwrap();
        assert!(now == before, "{what}");
    };
    let promote = ["promote", &two.short(), "web/stable"];
    // Other bytes, and none.
    let image = site.store.blob(&Digest::of(b"two"));
    fs::remove_file(&image).unwrap();
    let (exit, error) = code(&site, &promote);
    assert!(
        exit == 4 && error.contains("the image is not in the store"),
        "{error}"
    );
    fs::write(&image, "twx").unwrap();
    let (exit, error) = code(&site, &promote);
    assert!(
        exit == 4 && error.contains("was changed after it was stored"),
        "{error}"
    );
    fs::write(&image, "two").unwrap();
    stays("with a broken image");
    // Nobody's signature.
    let other = site.put("web", b"four");
    insta::assert_snapshot!(
        "unsigned",
        said(&site, &["promote", &other.short(), "web/stable"])
    );
    succeed(&site, &["sign", &other.short()]);
    insta::assert_snapshot!(
        "unscanned",
        said(&site, &["promote", &other.short(), "web/stable"])
    );
    scanned(&site, other, &["CVE-2026-2"], &Verdict::Fails);
    let (exit, error) = code(&site, &["promote", &other.short(), "web/stable"]);
    assert!(
        exit == 3 && error.contains("has 1 that the policy refuses"),
        "{error}"
    );
    let (exit, error) = code(&site, &["promote", &other.short(), "web/stable", "--force"]);
    assert!(
        exit == 2 && error.contains("a reason is required"),
        "{error}"
    );
    // Another image's channel, a name that is none, an id that is none.
    insta::assert_snapshot!(
        "other_image",
        said(&site, &["promote", &two.short(), "db/stable"])
    );
    assert_eq!(code(&site, &["promote", &two.short(), "stable"]).0, 2);
    assert_eq!(code(&site, &["promote", "00000000", "web/stable"]).0, 2);
    assert_eq!(code(&site, &["rollback", "web/none"]).0, 2);
    stays("after mistakes");
    // A rehearsal.
    let check = said(&site, &["promote", &two.short(), "web/stable", "--check"]);
    assert!(
        check.starts_with("exit code: 0") && check.contains("dry run: web/stable can move to"),
        "{check}"
    );
    stays("after a rehearsal");
    let force = [
        "promote",
        &other.short(),
        "web/stable",
        "--force",
        "--reason",
        "on fire",
    ];
    succeed(&site, &force);
    assert_eq!(head(&site), Some(other));
}

#[test]
fn a_channel_has_rules_of_its_own() {
    let (site, [one, ..]) = builds();
    let policy = site.store.root().join("channels/web/stable.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let promote = ["promote", &one.short(), "web/stable"];
    let with = |text: &str| {
        fs::write(&policy, text).unwrap();
        code(&site, &promote)
    };
    for (text, exit, words) in [
        (
            "require_signed = 2\n",
            4,
            "1 of 2 required signatures from trusted keys",
        ),
        ("signers = [\"alice\"]\n", 4, "not signed by alice"),
        ("max_scan_age = \"0s\"\n", 3, "its last scan is too old"),
        ("max_scan_age = 7\n", 2, "cannot read the policy"),
        ("require = 2\n", 2, "cannot read the policy"),
    ] {
        if exit == 3 {
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        let (actual, error) = with(text);
        assert!(actual == exit && error.contains(words), "{text}: {error}");
    }
    // Without keys at all, when the rules say so.
    let bare = Site::new();
    let id = bare.put("web", b"image");
    let promote = ["promote", &id.short(), "web/stable"];
    let policy = bare.store.root().join("channels/web/stable.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let (exit, error) = code(&bare, &promote);
    assert!(exit == 2 && error.contains("there is no key"), "{error}");
    fs::write(
        &policy,
        "require_signed = 0\nrequire_scan = false\nsigned_moves = false\n",
    )
    .unwrap();
    succeed(&bare, &promote);
    succeed(&bare, &["verify", "--unsigned"]);
}

#[test]
fn whoever_follows_a_channel_is_told_of_its_moves() {
    let (site, [one, two, _]) = builds();
    succeed(
        &site,
        &[
            "promote",
            &one.short(),
            "web/stable",
            "--exec",
            "cat >hook.json",
        ],
    );
    let told: Value =
        serde_json::from_slice(&fs::read(site.path().join("hook.json")).unwrap()).unwrap();
    assert_eq!(
        (&told["number"], &told["manifest"]),
        (&1.into(), &one.to_string().into())
    );
    let (exit, error) = code(
        &site,
        &["promote", &two.short(), "web/stable", "--exec", "exit 3"],
    );
    assert!(
        exit == 1 && error.contains("web/stable has moved"),
        "{error}"
    );
    assert_eq!(head(&site), Some(two));
}

#[test]
fn a_move_that_somebody_else_has_written_down_is_noticed() {
    let (site, [one, two, _]) = builds();
    succeed(&site, &["promote", &one.short(), "web/stable"]);
    // With the form and the chain as they must be, by somebody who can write the store and has no key that counts.
    let forged = channel(&site);
    let name = "web/stable".parse().unwrap();
    let entry = forged.next(&name, Direction::Promote, two);
    let signature = forged.moves[0].signature.clone();
    let path = site.store.root().join("channels/web/stable.json");
    let sound = fs::read(&path).unwrap();
    for (signature, words) in [
        (None, "move 2 is not signed"),
        (signature, "it is not a signature of these bytes"),
    ] {
        let mut channel = forged.clone();
        channel
            .push(SignedMove {
                entry: entry.clone(),
                signature,
            })
            .unwrap();
        fs::write(&path, canonical::to_bytes(&channel).unwrap()).unwrap();
        for subject in [&["verify"][..], &["verify", "web/stable"]] {
            let (exit, error) = code(&site, subject);
            assert!(exit == 4 && error.contains(words), "{subject:?}: {error}");
        }
    }
    fs::write(&path, sound).unwrap();
    succeed(&site, &["verify", "web/stable"]);
    succeed(&site, &["keys", "revoke", "config/karat/key.pub"]);
    let (exit, error) = code(&site, &["verify", "web/stable"]);
    assert!(exit == 4 && error.contains("web/stable: move 1"), "{error}");
}

/// Processes that move one channel at once.
const TOGETHER: usize = 50;

#[test]
fn of_many_at_once_every_move_is_recorded_or_refused() {
    let (site, ids) = builds();
    succeed(&site, &["promote", &ids[0].short(), "web/stable"]);
    let start = |number: usize| -> Child {
        let id = ids[number % 3].to_string();
        let reason = format!("process {number}");
        let arguments = match number % 2 {
            0 => vec!["promote", &id, "web/stable", "--reason", &reason],
            _ => vec![
                "rollback",
                &id,
                "--channel",
                "web/stable",
                "--reason",
                &reason,
            ],
        };
        let mut command = site.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..TOGETHER).map(start).collect();
    let (mut moved, mut refused, mut there) = (0, 0, 0);
    for child in children {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) if output.stdout.is_empty() => there += 1,
            Some(0) => moved += 1,
            Some(1) if error.contains("was moved meanwhile") => refused += 1,
            code => panic!("{code:?}: {error}"),
        }
    }
    assert_eq!(moved + refused + there, TOGETHER);
    // Reading it checks that the numbers have no gap and that each follows from the one before.
    assert_eq!(channel(&site).number(), moved as u64 + 1);
    assert!(moved > 0);
    succeed(&site, &["verify"]);
    let left = fs::read_dir(site.store.root().join("channels/web"))
        .unwrap()
        .count();
    assert!(left <= 2, "the channel, and perhaps its lock");
}
