//! `karat list`, `show` and `export`: exit code, standard output and standard error together.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use karat::digest::Digest;
use karat::record::manifest::ManifestId;
use karat::store::Store;

use crate::support::site;

/// Times as placeholders.
pub fn without_times(text: &str) -> String {
    let form = "dddd-dd-ddTdd:dd:ddZ";
    let is_time = |text: &str| {
        let letters = text.bytes().zip(form.bytes());
        text.len() == form.len()
            && letters.into_iter().all(|(letter, form)| match form {
                b'd' => letter.is_ascii_digit(),
                form => letter == form,
            })
    };
    let (mut result, mut rest) = (String::new(), text);
    while let Some(letter) = rest.chars().next() {
        if rest.get(..form.len()).is_some_and(is_time) {
            result += "[TIME]";
            rest = &rest[form.len()..];
        } else {
            result.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    result
}

/// A site with a store.
pub struct Site {
    site: site::Site,
    pub store: Store,
}

impl Site {
    pub fn new() -> Self {
        let mut site = site::Site::new();
        let (data, config) = (site.path("data"), site.path("config"));
        let store = Store::new(data.join("karat"));
        site.set("USER", "me");
        site.set("XDG_DATA_HOME", data);
        site.set("XDG_CONFIG_HOME", config);
        Self { site, store }
    }

    pub fn path(&self) -> &Path {
        self.root()
    }

    pub fn put(&self, name: &str, image: &[u8]) -> ManifestId {
        super::put(&self.store, self.path(), name, image)
    }

    pub fn put_on(&self, name: &str, image: &[u8], base: &[u8]) -> ManifestId {
        super::put_on(&self.store, self.path(), name, image, base)
    }

    /// Runs karat; returns exit code, stdout and stderr as one text, without what differs between machines.
    pub fn karat(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let host = rustix::system::uname();
        let code = output.status.code().unwrap();
        let [stdout, stderr] = site::texts(output);
        let text = format!("exit code: {code}\n--- stdout\n{stdout}--- stderr\n{stderr}");
        self.hide_root(&text)
            .replace(
                &format!(" on {} (", host.nodename().to_str().unwrap()),
                " on [HOST] (",
            )
            .replace(
                concat!("by karat ", env!("CARGO_PKG_VERSION")),
                "by karat [VERSION]",
            )
    }
}

impl Deref for Site {
    type Target = site::Site;
    fn deref(&self) -> &site::Site {
        &self.site
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut site::Site {
        &mut self.site
    }
}

#[test]
fn an_empty_store_has_an_empty_list() {
    let site = Site::new();
    insta::assert_snapshot!("empty_list", site.karat(&["list"]));
    insta::assert_snapshot!("empty_list_json", site.karat(&["list", "--json"]));
    assert!(!site.store.root().exists(), "reading makes nothing");
}

#[test]
fn an_image_is_named_by_digits_name_or_channel() {
    let site = Site::new();
    let old = site.put("web", &[1; 2048]).to_string();
    let new = site.put("web", &[2; 2048]).to_string();
    site.put("database", &[3; 2048]);
    let newest = &site.store.newest("web").unwrap().unwrap().id.to_string();
    assert!([&old, &new].contains(&newest));
    for (name, expected) in [
        (&old[..4], &old),
        (&new[..12], &new),
        ("web", newest),
        ("web@latest", newest),
    ] {
        let shown = site.karat(&["show", name]);
        assert!(shown.contains(expected.as_str()), "{name}: {shown}");
    }
    for (name, expected) in [
        ("wbe", "no image \"wbe\" in the store at"),
        ("0000", "no image \"0000\" in the store at"),
        (
            "web@older",
            "name it by 4 or more digits of its id, NAME, NAME@latest or a channel",
        ),
        ("web/stable", "no channel web/stable in the store"),
    ] {
        let shown = site.karat(&["show", name]);
        assert!(
            shown.starts_with("exit code: 2") && shown.contains(expected),
            "{shown}"
        );
    }
}

#[test]
fn an_export_goes_to_a_directory_under_the_name_of_the_image_and_never_to_stdout() {
    let site = Site::new();
    site.put("web", &[1; 2048]);
    fs::create_dir(site.path().join("out")).unwrap();
    let exported = site.karat(&["export", "web", "-o", "out/"]);
    assert!(exported.starts_with("exit code: 0"), "{exported}");
    assert_eq!(fs::read_dir(site.path().join("out")).unwrap().count(), 1);
    let refused = site.karat(&["export", "web", "-o", "-"]);
    assert!(
        refused.starts_with("exit code: 2") && refused.contains("cannot export to stdout"),
        "{refused}"
    );
    assert!(!site.path().join("-").exists());
}

#[test]
fn a_directory_that_is_no_store_is_told_before_its_permissions() {
    let site = Site::new();
    let store = site.path().join("store");
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (entry, is_store) in [
        ("", true),
        (".gitkeep", true),
        ("lost+found/", true),
        ("lock", true),
        ("postgresql/", false),
        ("web.toml", false),
        ("channels/web/", true),
        ("vulnerabilities.db", true),
        ("audit.jsonl", true),
        ("blobs/sha256/", true),
    ] {
        let path = store.join(entry);
        if entry.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else if !entry.is_empty() {
            fs::create_dir_all(&store).unwrap();
            fs::write(&path, "").unwrap();
        }
        fs::create_dir_all(&store).unwrap();
        chmod(&store, 0o777);
        let said = site.karat(&["list", "--store", "store"]);
        assert!(said.starts_with("exit code: 2"), "{entry}: {said}");
        assert_eq!(said.contains("store is not a store"), !is_store, "{said}");
        assert_eq!(said.contains("chmod"), is_store, "{entry}: {said}");
        chmod(&store, 0o755);
        let said = site.karat(&["list", "--store", "store"]);
        let code = if is_store { 0 } else { 2 };
        assert!(
            said.starts_with(&format!("exit code: {code}")),
            "{entry}: {said}"
        );
        fs::remove_dir_all(&store).unwrap();
    }
    fs::write(&store, "").unwrap();
    for store in ["store", "/dev/full"] {
        for arguments in [
            &["list", "--store", store][..],
            &["import", "web", "--from", store],
        ] {
            let said = site.karat(arguments);
            assert!(
                said.starts_with("exit code: 2") && said.contains("is not a store"),
                "{said}"
            );
        }
    }
}

#[test]
fn images_are_listed_in_the_order_they_were_made() {
    let site = Site::new();
    site.put("web", &[1; 2048]);
    site.put("database", &vec![2; 4 << 20]);
    insta::assert_snapshot!("list", site.karat(&["list"]));
    insta::assert_snapshot!("list_json", site.karat(&["list", "--json"]));
}

#[test]
fn the_store_is_where_it_was_said_to_be() {
    let site = Site::new();
    site.put("web", b"image");
    let list = |command: &mut Command| command.output().unwrap().stdout.len();
    let store = site.store.root().as_os_str().to_owned();
    let elsewhere = site.path().join("elsewhere");
    assert!(list(&mut site.command(&["list"])) > 0);
    let mut environment = site.command(&["list"]);
    assert_eq!(list(environment.env("KARAT_STORE", &elsewhere)), 0);
    assert!(list(environment.arg("--store").arg(&store)) > 0);
    let mut home = site.command(&["list"]);
    home.env_clear().env("HOME", site.path());
    assert_eq!(list(&mut home), 0);
    let nowhere = home.env_clear().output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn a_manifest_is_shown_to_people_and_to_programs() {
    let site = Site::new();
    let id = site.put("web", b"image");
    insta::assert_snapshot!("show", site.karat(&["show", &id.short()]));
    let output = site
        .command(&["show", "--json", &id.to_string()])
        .output()
        .unwrap();
    assert_eq!(ManifestId::of(&output.stdout), id);
}

#[test]
fn an_id_that_names_no_manifest_is_explained() {
    let site = Site::new();
    site.put("web", b"image");
    insta::assert_snapshot!("unknown", site.karat(&["show", "00000000"]));
    insta::assert_snapshot!("too_short", site.karat(&["show", "0000000"]));
    insta::assert_snapshot!("no_id", site.karat(&["export", "shop", "-o", "web.qcow2"]));
    for end in ["0", "1"] {
        let name = format!("manifests/{}{end}.json", "a".repeat(63));
        fs::write(site.store.root().join(name), "").unwrap();
    }
    insta::assert_snapshot!("ambiguous", site.karat(&["show", "aaaaaaaa"]));
}

#[test]
fn what_was_tampered_with_is_refused() {
    let site = Site::new();
    let good = site.put("web", b"good image").to_string();
    let bad = site.put("web", b"bad image").to_string();
    let path = site.store.root().join(format!("manifests/{bad}.json"));
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, text.replace("nginx-light", "nginx-heavy")).unwrap();
    insta::assert_snapshot!("tampered_show", site.karat(&["show", &bad[..12]]));
    insta::assert_snapshot!("tampered_list", site.karat(&["list"]));

    let blob = site.store.blob(&Digest::of(b"good image"));
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "evil image").unwrap();
    let export = ["export", &good[..12], "-o", "web.qcow2"];
    insta::assert_snapshot!("tampered_export", site.karat(&export));
    fs::remove_file(&blob).unwrap();
    insta::assert_snapshot!("missing_export", site.karat(&export));
    let left = fs::read_dir(site.path()).unwrap().count();
    assert_eq!(left, 1, "only the store");
}

#[test]
fn an_image_is_exported_whole_and_never_over_another_file() {
    let site = Site::new();
    let id = site.put("web", b"image").short();
    let export = ["export", &id, "-o", "web.qcow2"];
    let target = site.path().join("web.qcow2");
    insta::assert_snapshot!("export", site.karat(&export));
    assert_eq!(fs::read(&target).unwrap(), b"image");
    fs::write(&target, "precious").unwrap();
    insta::assert_snapshot!("export_exists", site.karat(&export));
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    let forced = [&export[..], &["--force"]].concat();
    assert!(site.karat(&forced).starts_with("exit code: 0"));
    assert_eq!(fs::read(&target).unwrap(), b"image");
    insta::assert_snapshot!(
        "export_nowhere",
        site.karat(&["export", &id, "-o", "none/web.qcow2"])
    );
}
