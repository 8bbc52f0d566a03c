//! The scripts for apt with a recorder in its place: which commands, in which order, what becomes of `policy-rc.d`, and
//! that nothing is left over.
//!
//! The real apt has its turn in the tests that boot a guest. Here a mount namespace keeps the recorder's changes away
//! from this machine's `/usr/sbin`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const APT_GET: &str = r#"#!/bin/sh
echo "apt-get $*" >>"$DIR/calls"
echo "policy $(/usr/sbin/policy-rc.d; echo $?)" >>"$DIR/calls"
case " $* " in
*" autoremove "*) echo 'Remv of-the-base [1]' ;;
*" --auto-remove "*) printf 'Purg %s [1]\n' old of-the-base lib-left ;;
*" update "*)
    [ ! -e "$DIR/no-archive" ] || exit 100
    echo 'InRelease' >lists/example.org_dists_x_InRelease
    echo 'Date: today' >>lists/example.org_dists_x_InRelease
    echo ' <- gpgv:201%20URI%20Done%0aSigned-By:%20AB!' >&2
    ;;
*" --print-uris "*) echo "'http://example.org/n.deb' n_1_all.deb 7 SHA256:00" ;;
*" -s "*)
    if [ -e "$DIR/conflict" ] && grep -q libx preferences; then
        echo ' n : Depends: libx (= 2) but 1 is to be installed'
        exit 100
    fi
    [ ! -e "$DIR/no-install" ] || { echo 'E: Unable to locate package wrong'; exit 100; }
    echo 'Inst nginx (1 x [all])'
    ;;
*" install "*) [ ! -e "$DIR/no-install" ] || { echo 'E: Broken'; exit 100; } ;;
esac
"#;
const DPKG_QUERY: &str = r#"#!/bin/sh
for name; do :; done
case "$*" in
*Architecture*) ;;
*Status-Status*) [ "$name" != virtual ] && echo 'installed' ;;
*) [ "$name" != absent ] && [ "$name" != libnew ] && echo 'install ok installed' ;;
esac
exit 0
"#;
const APT_MARK: &str = r#"#!/bin/sh
echo "apt-mark $*" >>"$DIR/calls"
case " $* " in *" showmanual "*) echo asked ;; esac
"#;

/// A directory with recorders in place of apt's programs.
struct FakeApt(TempDir);

impl FakeApt {
    fn new() -> Self {
        let dir = TempDir::with_prefix("karat-apt-").unwrap();
        fs::create_dir(dir.path().join("sbin")).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        for (name, text) in [
            ("apt-get", APT_GET),
            ("apt-mark", APT_MARK),
            ("dpkg-query", DPKG_QUERY),
            ("sync", "#!/bin/sh\n"),
            ("sleep", "#!/bin/sh\n"),
        ] {
            executable(&dir.path().join("bin").join(name), text);
        }
        fs::write(dir.path().join("calls"), "").unwrap();
        Self(dir)
    }

    /// Runs `shared.sh` and another script behind it.
    fn run(&self, script: &str, install: &str, remove: &str) -> Output {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provision/packages/apt");
        let read = |name: &str| fs::read_to_string(source.join(name)).unwrap();
        let unpack = "unpack() { printf 'nginx 1\\nlibx 1\\n' >pins; }\n";
        let whole = self.0.path().join("script");
        fs::write(&whole, [unpack, &read("shared.sh"), &read(script)].concat()).unwrap();
        Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount --bind \"$DIR/sbin\" /usr/sbin && exec sh -eu \"$0\"",
            ])
            .arg(whole)
            .env("DIR", self.0.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.0.path().join("bin").display()),
            )
            .env("KARAT_DIRECTORY", self.0.path().join("private"))
            .envs([
                ("APT_INSTALL", install),
                ("APT_REMOVE", remove),
                ("APT_AUTO", "libnew asked auto:amd64"),
                ("APT_RECOMMENDS", "false"),
                ("KARAT_PROXY", "http://127.0.0.1:7"),
            ])
            .output()
            .unwrap()
    }

    fn install(&self, files: &[&str], remove: &str) -> Output {
        let private = self.0.path().join("private");
        fs::create_dir(&private).unwrap();
        for file in files {
            fs::write(private.join(file), "").unwrap();
        }
        self.run("install.sh", "nginx", remove)
    }

    fn resolve(&self, install: &str, remove: &str) -> Output {
        self.run("resolve.sh", install, remove)
    }

    /// The calls without their options.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap();
        let private = format!("{}/private/", self.0.path().display());
        let word = |line: &str| {
            let words = line.split(' ').map(|word| word.replace(&private, ""));
            let mut kept = Vec::new();
            let mut words = words.into_iter();
            while let Some(word) = words.next() {
                match word.as_str() {
                    "-o" | "-c" => drop(words.next()),
                    "-q" | "-y" | "--purge" | "--allow-downgrades" => {}
                    _ => kept.push(word),
                }
            }
            kept.join(" ")
        };
        let calls = calls.lines().filter(|line| line.starts_with("apt-"));
        calls.map(word).collect()
    }

    fn policy(&self) -> Option<String> {
        fs::read_to_string(self.0.path().join("sbin/policy-rc.d")).ok()
    }

    fn touch(&self, name: &str) {
        fs::write(self.0.path().join(name), "").unwrap();
    }

    fn assert_nothing_left(&self) {
        assert!(!self.0.path().join("private").exists());
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let changed = Command::new("chmod").arg("755").arg(path).status().unwrap();
    assert!(changed.success());
}

/// What karat reads, and what the user does.
fn said(output: &Output) -> (Vec<String>, String) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix('\u{1e}'));
    (data.map(str::to_owned).collect(), text.clone())
}

#[test]
fn packages_are_installed_offline_in_one_transaction_without_starting_services() {
    let site = FakeApt::new();
    let output = site.install(&["1-b.deb", "0-a.deb"], "old");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        site.calls(),
        [
            "apt-mark showmanual asked auto:amd64",
            "apt-get install 0-a.deb 1-b.deb old-",
            "apt-mark auto libnew auto:amd64",
        ]
    );
    let calls = fs::read_to_string(site.0.path().join("calls")).unwrap();
    assert!(
        calls.contains("policy 101") && !calls.contains("policy 0"),
        "{calls}"
    );
    for option in [
        "Dir::Etc::SourceList=/dev/null",
        "Dir::Etc::SourceParts=/dev/null",
        "Lock::Timeout=300",
        "Install-Recommends=false",
        "force-confold",
        "force-confdef",
    ] {
        assert!(calls.contains(option), "{option}: {calls}");
    }
    assert_eq!(site.policy(), None, "nothing is left over");
    site.assert_nothing_left();
}

#[test]
fn the_bases_own_policy_comes_back_whatever_happens() {
    for (fault, code) in [(None, 0), (Some("no-install"), 73)] {
        let site = FakeApt::new();
        executable(
            &site.0.path().join("sbin/policy-rc.d"),
            "#!/bin/sh\n# mine\n",
        );
        if let Some(name) = fault {
            site.touch(name);
        }
        let output = site.install(&["0-nginx.deb"], "");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(site.policy().as_deref(), Some("#!/bin/sh\n# mine\n"));
        assert_eq!(fs::read_dir(site.0.path().join("sbin")).unwrap().count(), 1);
        site.assert_nothing_left();
    }
}

#[test]
fn resolving_asks_and_changes_nothing() {
    let site = FakeApt::new();
    let output = site.resolve("nginx", "old absent");
    assert!(output.status.success(), "{output:?}");
    let (data, _) = said(&output);
    assert!(
        data[0].starts_with("release ") && data[0].ends_with("_InRelease today"),
        "{data:?}"
    );
    assert_eq!(
        data[1..],
        [
            "signed Signed-By:%20AB!",
            "plan Inst nginx (1 x [all])",
            "uri 'http://example.org/n.deb' n_1_all.deb 7 SHA256:00",
            "unneeded Remv of-the-base [1]",
            "also Purg old [1]",
            "also Purg of-the-base [1]",
            "also Purg lib-left [1]",
        ]
    );
    assert_eq!(
        site.calls(),
        [
            "apt-get update",
            "apt-get -s install nginx old-",
            "apt-get --print-uris install nginx old-",
            "apt-get -s autoremove",
            "apt-get -s --auto-remove install nginx old-",
        ]
    );
    site.assert_nothing_left();
}

#[test]
fn an_update_that_fails_is_tried_three_times() {
    let site = FakeApt::new();
    site.touch("no-archive");
    assert_eq!(site.resolve("nginx", "").status.code(), Some(71));
    assert_eq!(site.calls(), ["apt-get update"; 3]);
    site.assert_nothing_left();
}

#[test]
fn a_locked_version_that_stands_in_the_way_is_let_go() {
    let site = FakeApt::new();
    site.touch("conflict");
    let output = site.resolve("nginx", "");
    assert!(output.status.success(), "{output:?}");
    let simulations = site
        .calls()
        .iter()
        .filter(|call| call.contains(" -s "))
        .count();
    assert_eq!(simulations, 2);
    site.touch("no-install");
    let output = site.resolve("nginx", "");
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    assert!(
        said(&output)
            .1
            .contains("E: Unable to locate package wrong")
    );
    site.assert_nothing_left();
}

#[test]
fn what_would_not_be_as_declared_is_said_before_anything_is_done() {
    let site = FakeApt::new();
    let output = site.resolve("nginx virtual", "");
    assert_eq!(output.status.code(), Some(75));
    let (_, text) = said(&output);
    assert!(
        text.contains("karat: virtual would not be installed\n"),
        "{text}"
    );
}

#[test]
fn the_remote_scripts_pass_shellcheck() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provision");
    for dir in [
        source.clone(),
        source.join("remote"),
        source.join("packages/apt"),
        source.join("packages/dnf"),
    ] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sh") {
                let checked = Command::new("shellcheck")
                    .args(["-s", "sh"])
                    .arg(&path)
                    .output();
                let output = checked.expect("shellcheck (package shellcheck) is needed");
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stdout)
                );
            }
        }
    }
}
