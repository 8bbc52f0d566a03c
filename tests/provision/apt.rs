//! `apt.sh` with a recorder in place of apt: which commands, in which order, and what becomes of `policy-rc.d`.
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
*" autoremove "*) cat "$DIR/unneeded" 2>/dev/null; echo 'Remv lib-left [1]' >>"$DIR/unneeded" ;;
*" update "*) [ ! -e "$DIR/no-archive" ] ;;
*" install "*) [ ! -e "$DIR/no-install" ] || { echo 'E: Unable to locate package wrong'; exit 100; } ;;
esac
"#;
const DPKG_QUERY: &str = r#"#!/bin/sh
for name; do :; done
case $3 in
*Status-Status*) [ "$name" != old ] && [ "$name" != absent ] && echo 'installed 1.0' ;;
*) [ "$name" != absent ] && ! grep -q "$name-" "$DIR/calls" && echo 'install ok installed' ;;
esac
"#;

struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let dir = TempDir::with_prefix("karat-apt-").unwrap();
        fs::create_dir(dir.path().join("sbin")).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        for (name, text) in [
            ("apt-get", APT_GET),
            ("dpkg-query", DPKG_QUERY),
            ("sync", "#!/bin/sh\n"),
            ("sleep", "#!/bin/sh\n"),
        ] {
            executable(&dir.path().join("bin").join(name), text);
        }
        fs::write(dir.path().join("calls"), "").unwrap();
        Self(dir)
    }

    fn run(&self, install: &str, remove: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provision/packages/apt.sh");
        Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                "mount --bind \"$DIR/sbin\" /usr/sbin && exec sh -eu \"$0\"",
            ])
            .arg(script)
            .env("DIR", self.0.path())
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.0.path().join("bin").display()),
            )
            .envs([
                ("APT_INSTALL", install),
                ("APT_REMOVE", remove),
                ("APT_RECOMMENDS", "false"),
            ])
            .output()
            .unwrap()
    }

    /// The calls of apt-get without their options.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap();
        let word = |line: &str| {
            let words = line.split(' ').skip(1).collect::<Vec<_>>();
            let mut kept = Vec::new();
            let mut words = words.into_iter();
            while let Some(word) = words.next() {
                match word {
                    "-o" => drop(words.next()),
                    option if option.starts_with('-') => {}
                    word => kept.push(word),
                }
            }
            kept.join(" ")
        };
        calls
            .lines()
            .filter(|line| line.starts_with("apt-get"))
            .map(word)
            .collect()
    }

    fn policy(&self) -> Option<String> {
        fs::read_to_string(self.0.path().join("sbin/policy-rc.d")).ok()
    }

    fn touch(&self, name: &str) {
        fs::write(self.0.path().join(name), "").unwrap();
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    assert!(
        Command::new("chmod")
            .arg("755")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn packages_are_installed_without_starting_services() {
    let site = Site::new();
    let output = site.run("nginx curl=1.0", "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.calls(), ["update", "install nginx curl=1.0"]);
    let calls = fs::read_to_string(site.0.path().join("calls")).unwrap();
    assert!(
        calls.contains("policy 101") && !calls.contains("policy 0"),
        "{calls}"
    );
    for option in [
        "Lock::Timeout=300",
        "Error-Mode=any",
        "Install-Recommends=false",
        "force-confold",
        "force-confdef",
    ] {
        assert!(calls.contains(option), "{option}: {calls}");
    }
    assert_eq!(site.policy(), None, "nothing is left over");
}

#[test]
fn removing_takes_only_what_the_removal_left_unneeded() {
    let site = Site::new();
    fs::write(site.0.path().join("unneeded"), "Remv of-the-base [1]\n").unwrap();
    let output = site.run("", "old absent");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        site.calls(),
        ["autoremove", "install old-", "autoremove", "purge lib-left"]
    );
}

#[test]
fn the_bases_own_policy_comes_back_whatever_happens() {
    for (fault, code) in [
        (None, 0),
        (Some("no-archive"), 71),
        (Some("no-install"), 73),
    ] {
        let site = Site::new();
        executable(
            &site.0.path().join("sbin/policy-rc.d"),
            "#!/bin/sh\n# mine\n",
        );
        if let Some(name) = fault {
            site.touch(name);
        }
        let output = site.run("nginx", "");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(site.policy().as_deref(), Some("#!/bin/sh\n# mine\n"));
        assert_eq!(fs::read_dir(site.0.path().join("sbin")).unwrap().count(), 1);
    }
}

#[test]
fn an_update_that_fails_is_tried_three_times() {
    let site = Site::new();
    site.touch("no-archive");
    assert_eq!(site.run("nginx", "").status.code(), Some(71));
    assert_eq!(site.calls(), ["update", "update", "update"]);
}

#[test]
fn what_is_not_as_declared_is_said() {
    let site = Site::new();
    let output = site.run("absent curl=2.0", "");
    assert_eq!(output.status.code(), Some(75));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("karat: absent is not installed\nkarat: curl=2.0 is at 1.0\n"),
        "{said}"
    );
}

#[test]
fn the_remote_scripts_pass_shellcheck() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provision");
    for dir in [
        source.clone(),
        source.join("remote"),
        source.join("packages"),
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
