//! Locks in real guests, with Debian's own archive and a signed one that is made here and served on loopback.

use std::path::Path;
use std::process::{Command, Output};

use karat::record::lock::{InstallReason, Lock};

use crate::dnf::Server;
use crate::site::{Site, guests_in};

const TEMPLATE: &str = r#"
[image]
name = "hello"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1

[packages.apt]
install = ["karat-hello"]

[[packages.apt.repositories]]
name = "tools"
uri = "URI"
suites = ["stable"]
components = ["main"]
key = "key.asc"

[[provision]]
name = "look around"
shell = { inline = [
    "set -x",
    "test \"$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' 'karat-*' | grep ^installed | tr '\\n' ,)\" = 'installed karat-extra 1.0,installed karat-hello 1.0,installed karat-lib 1.0,'",
    "test \"$(cat /usr/share/karat-hello/policy)\" = 101",
    "test ! -e /usr/sbin/policy-rc.d",
    "test -z \"$(ls -A /var/tmp | grep karat)\"",
    "test -z \"$(find /var/lib/apt/lists /var/cache/apt -type f ! -name lock)\"",
    "test \"$(apt-mark showmanual | grep karat | tr '\\n' ' ')\" = 'karat-extra karat-hello '",
    "cmp /etc/apt/keyrings/tools.asc /root/key.asc",
    "grep -q 'Signed-By: /etc/apt/keyrings/tools.asc' /etc/apt/sources.list.d/tools.sources",
] }

[[files]]
source = "key.asc"
destination = "/root/key.asc"
"#;

/// Two versions of a library, what needs it, and what nothing needs. `karat-doc` is only recommended.
const MAKE: &str = r#"
set -eu
export GNUPGHOME=$PWD/gnupg
if [ ! -d gnupg ]; then
    mkdir -m 700 gnupg
    gpg --batch --quiet --passphrase '' --pinentry-mode loopback --quick-generate-key 'Test <test@example.org>' rsa2048 sign never
    gpg --armor --export >key.asc
fi
pool=repo/pool/main
packages=repo/dists/stable/main/binary-amd64/Packages
mkdir -p "$pool" "${packages%/*}" "${packages%/*/*}/binary-arm64"
pack() {
    [ ! -e "$pool/$1_$2_all.deb" ] || return 0
    mkdir -p "root/usr/share/$1" root/DEBIAN
    printf '%s\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: Test <test@example.org>' \
        "Description: $1" "$3" | grep . >root/DEBIAN/control
    if [ "$1" = karat-hello ]; then
        printf '#!/bin/sh\n/usr/sbin/policy-rc.d\necho $? >/usr/share/karat-hello/policy\n' >root/DEBIAN/postinst
        chmod 755 root/DEBIAN/postinst
    fi
    dpkg-deb --root-owner-group -Zgzip -b root "$pool/$1_$2_all.deb" >/dev/null
    rm -r root
}
for version in $VERSIONS; do pack karat-lib "$version" ''; done
pack karat-doc 1.0 ''
pack karat-extra 1.0 ''
pack karat-hello 1.0 'Depends: karat-lib (>= 1.0)
Recommends: karat-doc'
for file in "$pool"/*.deb; do
    dpkg-deb -f "$file"
    echo "Filename: ${file#repo/}"
    echo "Size: $(stat -c %s "$file")"
    echo "SHA256: $(sha256sum <"$file" | cut -d ' ' -f 1)"
    echo
done >"$packages"
: >repo/dists/stable/main/binary-arm64/Packages
cd repo/dists/stable
{
    echo 'Suite: stable'
    echo 'Codename: stable'
    echo 'Components: main'
    echo 'Architectures: amd64 arm64'
    echo "Date: $(LC_ALL=C date -u -d '-10 minutes' '+%a, %d %b %Y %T UTC')"
    echo 'SHA256:'
    for file in main/binary-*/Packages; do
        echo " $(sha256sum <"$file" | cut -d ' ' -f 1) $(stat -c %s "$file") $file"
    done
} >Release
gpg --batch --yes --clearsign -o InRelease Release
rm Release
gpgconf --kill all
"#;

fn make(site: &Site, versions: &str) {
    let made = Command::new("sh")
        .args(["-c", MAKE])
        .env("VERSIONS", versions)
        .current_dir(site.path("."))
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: &Path) -> Lock {
    Lock::read(path).unwrap().unwrap()
}

#[test]
fn packages_are_locked_and_installed_offline_and_built_again_without_their_archive() {
    let site = Site::new();
    make(&site, "1.0");
    let server = Server::start(&site.path("repo"));
    let template = TEMPLATE.replace("URI", &server.uri);
    site.write("hello.toml", &template);
    let changes = site.stdout(["lock", "hello.toml"]);
    assert_eq!(changes, "karat-hello none -> 1.0\nkarat-lib none -> 1.0\n");

    let path = site.path("hello.lock.toml");
    let first = read(&path);
    let packages: Vec<_> = first
        .packages
        .iter()
        .map(|package| (package.name.as_str(), package.reason))
        .collect();
    let expected = [
        ("karat-lib", InstallReason::Dependency),
        ("karat-hello", InstallReason::Declared),
    ];
    assert_eq!(packages, expected, "in the order of installation");
    let newest = first.archives.iter().map(|archive| archive.date).max();
    assert_eq!(first.epoch, newest, "never the time of the build");
    let archive = |suite: &str| {
        let found = first.archives.iter().find(|archive| archive.suite == suite);
        found.unwrap_or_else(|| panic!("{suite} is not in the lock"))
    };
    assert_eq!(archive("stable").signed_by.len(), 1);
    assert!(
        !archive("bookworm").signed_by.is_empty(),
        "the real archive too"
    );
    site.assert_nothing_left();

    // One line more, and a newer library: what was locked stays as it is.
    make(&site, "1.0 2.0");
    site.write(
        "hello.toml",
        &template.replace("[\"karat-hello\"]", "[\"karat-hello\", \"karat-extra\"]"),
    );
    let refused = site
        .karat(["build", "--locked", "hello.toml"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(
        said(&refused).contains("`install` has karat-extra"),
        "{}",
        said(&refused)
    );
    let built = site.karat(["build", "hello.toml"]).output().unwrap();
    assert!(built.status.success(), "{}", said(&built));
    assert!(
        said(&built).contains("karat-extra none -> 1.0"),
        "{}",
        said(&built)
    );
    assert!(
        !said(&built).contains("karat-lib 1.0 ->"),
        "{}",
        said(&built)
    );

    let id = String::from_utf8(built.stdout).unwrap();
    let manifest = site.stdout(["show", "--json", id.trim()]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let lock = read(&path);
    assert_eq!(
        manifest["inputs"]["lock"]["digest"],
        lock.digest().to_string()
    );
    let blob = site.path("store/blobs/sha256").join(lock.digest().hex());
    assert_eq!(std::fs::read(blob).unwrap(), std::fs::read(&path).unwrap());
    let packages = manifest["outputs"]["packages"].as_array().unwrap();
    let library = packages
        .iter()
        .find(|package| package["name"] == "karat-lib")
        .unwrap();
    let locked = lock
        .packages
        .iter()
        .find(|package| package.name == "karat-lib")
        .unwrap();
    assert_eq!(library["sha256"], locked.sha256.to_string());
    assert_eq!(library["origin"], "dependency");

    drop(server);
    the_store_has_what_is_locked(&site, &lock);
    site.assert_nothing_left();
}

/// The archive is gone, and so is the cache. Without the store too, what is missing is named.
fn the_store_has_what_is_locked(site: &Site, lock: &Lock) {
    std::fs::remove_dir_all(site.path("cache/sha256")).unwrap();
    assert_eq!(site.stdout(["lock", "hello.toml"]), "");
    std::fs::remove_dir_all(site.path("cache/sha256")).unwrap();
    let missing = site
        .karat(["build", "--locked", "--store", "empty", "hello.toml"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    for package in &lock.packages {
        let line = format!(
            "{} {} all {}",
            package.name, package.version, package.sha256
        );
        assert!(said(&missing).contains(&line), "{line}: {}", said(&missing));
    }
    assert!(!said(&missing).contains("launch"), "{}", said(&missing));
    assert_eq!(guests_in(&site.runs()), 0);
    let mirror = ["lock", "--store", "empty", "--mirror", "repo", "hello.toml"];
    assert_eq!(site.stdout(mirror), "");
}
