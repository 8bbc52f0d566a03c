//! Files to the far side.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use karat::ssh::{SshError, UploadContent, UploadItem};

use crate::support::sshd::Sshd;
use crate::{bar, chain, login};

fn item(source: impl Into<PathBuf>, destination: impl AsRef<str>) -> UploadItem {
    UploadItem {
        source: UploadContent::Path(source.into()),
        destination: destination.as_ref().to_owned(),
        mode: None,
        owner: "root:root".to_owned(),
    }
}

fn content(text: &str, destination: String) -> UploadItem {
    UploadItem {
        source: UploadContent::Bytes(text.as_bytes().to_vec()),
        ..item("", destination)
    }
}

fn write(path: impl AsRef<Path>, text: &[u8]) -> PathBuf {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.as_ref().to_owned()
}

/// Everything below a directory, in order: files with their content, directories with a `/`.
fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            if path.is_dir() {
                found.push(format!("{name}/"));
                open.push(path);
            } else {
                found.push(format!(
                    "{name}={}",
                    String::from_utf8_lossy(&fs::read(&path).unwrap())
                ));
            }
        }
    }
    found.sort();
    found
}

/// A local directory, a remote one, and the sshd between them.
struct Ends {
    sshd: Sshd,
    here: PathBuf,
    there: PathBuf,
}

impl Ends {
    fn new(config: &str) -> Self {
        let sshd = Sshd::with(config);
        let (here, there) = (
            sshd.directory().join("here"),
            sshd.directory().join("there"),
        );
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        Self { sshd, here, there }
    }

    fn to(&self, path: &str) -> String {
        format!("{}/{path}", self.there.display())
    }

    async fn upload(&self, items: &[UploadItem]) -> Result<(), SshError> {
        login(&self.sshd).await.upload(items, &bar()).await
    }
}

#[tokio::test]
async fn files_and_directories_land_where_they_should() {
    let site = Ends::new("");
    let file = write(site.here.join("file"), b"text");
    let directory = site.here.join("dir");
    write(directory.join("a"), b"1");
    write(directory.join("sub/b"), b"2");
    fs::create_dir(directory.join("empty")).unwrap();
    fs::create_dir(site.there.join("existing")).unwrap();
    write(site.there.join("merged/keep"), b"kept");
    write(site.there.join("merged/a"), b"old");
    write(site.there.join("merged/sub/c"), b"kept");
    write(site.there.join("replaced"), b"old");
    site.upload(&[
        item(&file, site.to("plain")),
        item(&file, site.to("replaced")),
        item(&file, site.to("existing")),
        item(&file, site.to("made/by/slash/")),
        item(&file, site.to("made/by/name")),
        content("bytes", site.to("content")),
        item(&directory, site.to("new")),
        item(&directory, site.to("slash/")),
        item(&directory, site.to("merged")),
        item(&file, site.to("new/sub/later")),
    ])
    .await
    .unwrap();
    let expected = [
        "content=bytes",
        "existing/",
        "existing/file=text",
        "made/",
        "made/by/",
        "made/by/name=text",
        "made/by/slash/",
        "made/by/slash/file=text",
        "merged/",
        "merged/a=1",
        "merged/empty/",
        "merged/keep=kept",
        "merged/sub/",
        "merged/sub/b=2",
        "merged/sub/c=kept",
        "new/",
        "new/a=1",
        "new/empty/",
        "new/sub/",
        "new/sub/b=2",
        "new/sub/later=text",
        "plain=text",
        "replaced=text",
        "slash/",
        "slash/a=1",
        "slash/empty/",
        "slash/sub/",
        "slash/sub/b=2",
    ];
    assert_eq!(tree(&site.there), expected);
}

#[tokio::test]
async fn odd_names_and_sizes_arrive_as_they_are() {
    let site = Ends::new("");
    let names: [&[u8]; 12] = [
        b"two words",
        b"new\nline",
        b"ends\n",
        b"$(touch pwned)",
        b"-rf",
        "ünïcode-日本".as_bytes(),
        b"quote'\"",
        b"back\\slash",
        b"*",
        b".hidden",
        b"..two",
        b"bad\xff",
    ];
    let directory = site.here.join("names");
    for name in names {
        write(directory.join(std::ffi::OsStr::from_bytes(name)), name);
    }
    write(
        directory.join("x".repeat(200)).join("y".repeat(200)),
        b"long",
    );
    write(directory.join("empty file"), b"");
    let sparse = fs::File::create(directory.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    let each: Vec<UploadItem> = names[..11]
        .iter()
        .map(|name| {
            let path = directory.join(std::ffi::OsStr::from_bytes(name));
            item(path, site.to("each one/"))
        })
        .chain([item(&directory, site.to("-all of $(them)"))])
        .chain([content("x", site.to("con'tent\n"))])
        .collect();
    site.upload(&each).await.unwrap();
    assert_eq!(tree(&site.there.join("-all of $(them)")), tree(&directory));
    assert_eq!(tree(&site.there.join("each one")).len(), 11);
    assert_eq!(
        fs::read(site.there.join("each one/$(touch pwned)")).unwrap(),
        b"$(touch pwned)"
    );
    assert_eq!(fs::read(site.there.join("con'tent\n")).unwrap(), b"x");
    assert_eq!(
        fs::read_dir(&site.there).unwrap().count(),
        3,
        "nothing else was made"
    );
}

#[tokio::test]
async fn mode_owner_and_the_executable_bit_are_kept() {
    let site = Ends::new("");
    let plain = write(site.here.join("plain"), b"");
    let program = write(site.here.join("program"), b"");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let mut secret = item(&plain, site.to("secret"));
    secret.mode = Some(0o640);
    secret.owner = "nobody:daemon".to_owned();
    let mut owned = item(&site.here, site.to("owned"));
    owned.owner = "daemon".to_owned();
    let mut setuid = item(&program, site.to("setuid"));
    setuid.mode = Some(0o4755);
    fs::set_permissions(&site.there, fs::Permissions::from_mode(0o711)).unwrap();
    let items = [
        item(&plain, site.to("plain")),
        item(&program, site.to("program")),
        secret,
        owned,
        setuid,
    ];
    site.upload(&items).await.unwrap();
    let look = |name: &str| {
        let metadata = fs::metadata(site.there.join(name)).unwrap();
        (
            format!("{:o}", metadata.mode() & 0o7777),
            metadata.uid(),
            metadata.gid(),
        )
    };
    assert_eq!(look("plain"), ("644".to_owned(), 0, 0));
    assert_eq!(look("program"), ("755".to_owned(), 0, 0));
    assert_eq!(look("secret"), ("640".to_owned(), 65534, 1));
    assert_eq!(look("owned"), ("755".to_owned(), 1, 0));
    assert_eq!(look("owned/program"), ("755".to_owned(), 1, 0));
    assert_eq!(look("setuid"), ("4755".to_owned(), 0, 0));
    assert_eq!(
        look(""),
        ("711".to_owned(), 0, 0),
        "what was there keeps its mode"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_found_before_anything_is() {
    let site = Ends::new("");
    let good = write(site.here.join("good/file"), b"");
    fs::create_dir(site.here.join("broken")).unwrap();
    symlink("nowhere", site.here.join("broken/link")).unwrap();
    fs::create_dir(site.here.join("loop")).unwrap();
    symlink("../loop", site.here.join("loop/up")).unwrap();
    symlink("self", site.here.join("self")).unwrap();
    let cases = [
        (
            item(site.here.join("missing"), site.to("x")),
            "No such file",
        ),
        (
            item(site.here.join("broken"), site.to("x")),
            "link: it is a broken link to nowhere",
        ),
        (item(site.here.join("loop"), site.to("x")), "a loop"),
        (
            item(site.here.join("self"), site.to("x")),
            "leads in a loop",
        ),
        (
            item("/dev/null", site.to("x")),
            "neither a file nor a directory",
        ),
        (item(&good, "relative"), "an absolute path"),
        (content("x", site.to("x/")), "no file name"),
        (
            UploadItem {
                owner: "no-such-user".to_owned(),
                ..item(&good, site.to("x"))
            },
            "invalid user",
        ),
        (
            item(
                &good,
                format!("{}/below", site.here.join("good/file").display()),
            ),
            "File exists",
        ),
        (
            item(site.here.join("good"), good.display().to_string()),
            "exists and is not a directory",
        ),
        (
            content("x", site.there.display().to_string()),
            "is a directory",
        ),
    ];
    for (bad, reason) in cases {
        let what = format!("{bad:?}");
        let result = site.upload(&[item(&good, site.to("first")), bad]).await;
        let error = result.unwrap_err();
        if let SshError::Upload { item, .. } = error {
            assert_eq!(item, Some(1), "{what}");
        }
        let error = chain(&error);
        assert!(error.contains(reason), "{what}: {error}");
        assert_eq!(tree(&site.there), Vec::<String>::new(), "{what}");
    }
}

/// Waits for what the far side does after the line has dropped.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..100 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_line_dropped_in_mid_transfer_leaves_nothing() {
    let site = Ends::new(&format!("SetEnv TMPDIR={}", std::env::temp_dir().display()));
    let big = fs::File::create(site.here.join("big")).unwrap();
    big.set_len(4 << 30).unwrap();
    write(site.there.join("target"), b"old");
    let session = login(&site.sshd).await;
    let progress = bar();
    let items = [item(site.here.join("big"), site.to("target"))];
    let (result, ()) = tokio::join!(session.upload(&items, &progress), async {
        for _ in 0..500 {
            if tree_names(&site.there).len() > 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // Some of the data is on its way now.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(
            tree_names(&site.there).len() > 1,
            "the transfer is under way"
        );
        site.sshd.drop_connections();
    });
    let error = result.unwrap_err();
    assert!(
        matches!(error, SshError::Disconnected { .. }),
        "{}",
        chain(&error)
    );
    eventually("the far side cleans up", || {
        tree_names(&site.there) == ["target"]
    });
    assert_eq!(fs::read(site.there.join("target")).unwrap(), b"old");
}

fn tree_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A small file system of its own.
struct Small(PathBuf);

impl Small {
    fn mount(place: &Path) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(place)
            .status()
            .unwrap();
        status.success().then(|| Self(place.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _status = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let site = Ends::new("");
    let Some(_small) = Small::mount(&site.there.join("small")) else {
        println!("not run here: a tmpfs cannot be mounted");
        return;
    };
    let big = fs::File::create(site.here.join("big")).unwrap();
    big.set_len(64 << 20).unwrap();
    write(site.there.join("small/old"), b"old");
    let small = write(site.here.join("little"), b"x");
    let items = [
        item(small, site.to("small/little")),
        item(site.here.join("big"), site.to("small/deep/big")),
    ];
    let error = chain(&site.upload(&items).await.unwrap_err());
    assert!(
        error.contains("small/deep/big: big: ") && error.contains("no space left on the disk"),
        "{error}"
    );
    assert_eq!(tree(&site.there.join("small")), ["deep/", "old=old"]);
    // Nothing is wrong with the disk afterwards.
    site.upload(&items[..1]).await.unwrap();
}

#[tokio::test]
async fn what_arrives_damaged_is_told_and_leaves_everything_as_it_was() {
    let bin = tempfile::tempdir().unwrap();
    let happens = bin.path().join("happens");
    let tar = format!(
        "#!/bin/sh\n/usr/bin/tar \"$@\" || exit\nfor work; do :; done\ncd \"$work\" && . {}\n",
        happens.display()
    );
    let tar = write(bin.path().join("tar"), tar.as_bytes());
    fs::set_permissions(tar, fs::Permissions::from_mode(0o755)).unwrap();
    let site = Ends::new(&format!(
        "SetEnv PATH={}:/usr/bin:/bin",
        bin.path().display()
    ));
    write(site.there.join("target"), b"old");
    write(site.here.join("small"), b"text");
    write(site.here.join("new\nline"), b"text");
    for (name, size) in [("large", 5 << 20), ("huge", 65 << 20)] {
        let file = fs::File::create(site.here.join(name)).unwrap();
        file.set_len(size).unwrap();
    }
    let at = |place: u64, name: &str| {
        format!("printf x | dd of='g0/{name}' bs=1 seek={place} conv=notrunc status=none")
    };
    let cases = [
        ("small", at(3, "small"), "target: small: arrived damaged"),
        ("small", at(4, "small"), "target: small: arrived damaged"),
        (
            "small",
            "rm g0/small".to_owned(),
            "target: small: arrived damaged",
        ),
        ("small", "echo x >sums".to_owned(), "sums: arrived damaged"),
        ("small", "rm checks".to_owned(), "the transfer broke off"),
        ("new\nline", at(0, "new\nline"), "arrived damaged"),
        (
            "large",
            at(5_000_000, "large"),
            "target: large: arrived damaged",
        ),
        ("huge", at(0, "huge"), "target: huge: arrived damaged"),
        (
            "huge",
            at((65 << 20) - 1, "huge"),
            "target: huge: arrived damaged",
        ),
        (
            "huge",
            "truncate -s 1000 g0/huge".to_owned(),
            "target: huge: arrived damaged",
        ),
        (
            "huge",
            "truncate -s 66M g0/huge".to_owned(),
            "target: huge: arrived damaged",
        ),
    ];
    for (name, damage, told) in cases {
        write(&happens, damage.as_bytes());
        let items = [item(site.here.join(name), site.to("target"))];
        let error = chain(&site.upload(&items).await.unwrap_err());
        assert!(error.contains(told), "{damage}: {error}");
        assert_eq!(tree(&site.there), ["target=old"], "{damage}");
    }
    for name in ["small", "new\nline", "large", "huge"] {
        write(&happens, b":");
        let items = [item(site.here.join(name), site.to("target"))];
        site.upload(&items).await.unwrap();
        let (sent, arrived) = (site.here.join(name), site.there.join("target"));
        assert!(
            fs::read(sent).unwrap() == fs::read(arrived).unwrap(),
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn coreutils_and_tar_are_enough_on_the_far_side() {
    let bin = tempfile::tempdir().unwrap();
    for tool in [
        "chown",
        "dd",
        "ln",
        "mkdir",
        "mktemp",
        "mv",
        "readlink",
        "rm",
        "sha256sum",
        "sync",
        "tar",
    ] {
        symlink(Path::new("/usr/bin").join(tool), bin.path().join(tool)).unwrap();
    }
    let site = Ends::new(&format!("SetEnv PATH={}", bin.path().display()));
    let directory = site.here.join("dir");
    write(directory.join("small"), b"text");
    for (name, size) in [("large", 5 << 20), ("huge", 65 << 20)] {
        let file = fs::File::create(directory.join(name)).unwrap();
        file.set_len(size).unwrap();
    }
    let mut item = item(&directory, site.to("dir"));
    item.owner = "daemon".to_owned();
    site.upload(&[item]).await.unwrap();
    assert!(tree(&site.there.join("dir")) == tree(&directory));
}
