//! Packages of dnf: a Debian guest that has Debian's dnf, and a signed RPM repository that is made here and served on
//! loopback. It is resolved and locked in the guest through the proxy, and installed in another one with the repository
//! gone.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::site::Site;

/// Debian's RPM keeps its database in the home directory of whoever calls it, unless told otherwise.
const BASE: &str = r#"
[image]
name = "debian-with-dnf"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1

[packages.apt]
install = ["dnf", "rpm"]

[[files]]
content = "%_dbpath /var/lib/rpm\n"
destination = "/etc/rpm/macros.dbpath"

[output]
path = "base.qcow2"
"#;

const TEMPLATE: &str = r#"
[image]
name = "hello"

[base.file]
path = "base.qcow2"

[builder.qemu]
cpus = 1

[packages.dnf]
install = ["karat-hello"]

[[packages.dnf.repositories]]
name = "tools"
uri = "URI"
key = "key.asc"

[[provision]]
name = "look around"
shell = { inline = [
    "test \"$(cat /usr/share/karat-hello/version)\" = 2.0",
    "rpm -V karat-hello karat-lib",
    "if rpm -q karat-doc; then exit 1; fi",
    "grep -q 'gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-tools' /etc/yum.repos.d/tools.repo",
    "test -s /etc/pki/rpm-gpg/RPM-GPG-KEY-tools",
    "if ls -d /var/tmp/karat-* /var/cache/dnf/*; then exit 1; fi",
    "dnf -q --releasever=1 --disablerepo='*' repoquery --installed --qf '%{name} %{reason}' | sort >/tmp/reasons",
    "printf 'karat-hello user\\nkarat-lib dependency\\n' | cmp - /tmp/reasons",
] }
"#;

/// What is in the repository. `karat-doc` is only recommended.
const MAKE: &str = r#"
set -eu
export GNUPGHOME=$PWD/gnupg
mkdir -m 700 gnupg
gpg --batch --quiet --passphrase '' --pinentry-mode loopback --quick-generate-key 'Test <test@example.org>' rsa2048 sign never
gpg --armor --export >key.asc
pack() {
    printf '%s\n' "Name: $1" "Version: $2" 'Release: 1' "Summary: $1" 'License: none' 'BuildArch: noarch' "$3" \
        '%description' "$1" '%install' "mkdir -p %{buildroot}/usr/share/$1 %{buildroot}/usr/bin" \
        "echo $2 >%{buildroot}/usr/share/$1/version" "echo 'exit 0' >%{buildroot}/usr/bin/$1" \
        '%files' "/usr/share/$1" "/usr/bin/$1" >"$1.spec"
    rpmbuild -bb --quiet --define "_topdir $PWD/build" --define "_rpmdir $PWD/repo" "$1.spec"
}
pack karat-lib 1.0 ''
pack karat-doc 1.0 ''
pack karat-hello 2.0 'Requires: karat-lib >= 1.0
Recommends: karat-doc'
rpmsign --define '_gpg_name test@example.org' --define "__gpg $(command -v gpg)" --addsign repo/*/*.rpm >/dev/null
createrepo_c -q repo
gpg --batch --armor --detach-sign repo/repodata/repomd.xml
gpgconf --kill all
"#;

/// Serves a directory until it is dropped.
pub struct Server {
    child: Child,
    pub uri: String,
}

impl Server {
    pub fn start(directory: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // `Serving HTTP on 127.0.0.1 port 34567 (http://127.0.0.1:34567/) ...`
        let mut line = String::new();
        let said = child.stdout.as_mut().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        let port = line.split(' ').nth(5).unwrap();
        let uri = format!("http://127.0.0.1:{port}");
        Self { child, uri }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "installing dnf in an emulated guest takes ten minutes; `make soak` runs it"]
fn packages_of_dnf_are_locked_and_installed_without_a_network() {
    let site = Site::new();
    let made = Command::new("sh")
        .args(["-c", MAKE])
        .current_dir(site.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no repository: {said}");
    site.write("base.toml", BASE);
    site.stdout(["build", "base.toml"]);

    let server = Server::start(&site.path("repo"));
    let template = TEMPLATE.replace("URI", &server.uri);
    site.write("hello.toml", &template);
    let changes = site.stdout(["lock", "hello.toml"]);
    assert_eq!(
        changes,
        "karat-hello none -> 2.0-1\nkarat-lib none -> 1.0-1\n"
    );
    let lock = std::fs::read_to_string(site.path("hello.lock.toml")).unwrap();
    for part in [
        "manager = \"dnf\"",
        "path = \"noarch/karat-hello-2.0-1.noarch.rpm\"",
        "reason = \"dependency\"",
        &format!("uri = \"{}\"", server.uri),
    ] {
        assert!(lock.contains(part), "{part}: {lock}");
    }
    let signed = lock.lines().find(|line| line.starts_with("signed_by = "));
    assert!(signed.is_some_and(|line| line.len() > 50), "{lock}");

    drop(server);
    let built = site
        .karat(["build", "--locked", "hello.toml"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    let id = String::from_utf8(built.stdout).unwrap();
    let manifest = site.stdout(["show", "--json", id.trim()]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let packages = manifest["outputs"]["packages"].as_array().unwrap();
    for (name, origin) in [
        ("karat-hello", "declared"),
        ("karat-lib", "dependency"),
        ("dnf", "base"),
    ] {
        let found = packages.iter().find(|package| package["name"] == name);
        assert_eq!(
            found.unwrap_or_else(|| panic!("no {name}"))["origin"],
            origin,
            "{name}"
        );
    }

    site.write("hello.toml", &template.replace("karat-hello", "karat-doc"));
    let refused = site
        .karat(["build", "--locked", "hello.toml"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(
        said.contains("`install` has karat-doc, but the lock file does not"),
        "{said}"
    );
    site.assert_nothing_left();
}
