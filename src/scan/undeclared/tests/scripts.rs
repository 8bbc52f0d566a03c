//! Paths that maintainer scripts made: their packages, and programs among them.

use super::*;
use crate::record::explanation::{Cause, find};

/// The package of the lock file with more scripts, and another one.
fn with_scripts() -> [LockedPackage; 2] {
    let mut web = locked();
    web.content.scripts += "touch /etc/web/made.conf /mnt/shared\nchown web: \"/var/lib/web\"\n";
    let mut other = LockedPackage {
        name: "other".to_owned(),
        ..web.clone()
    };
    other.content.entries.clear();
    other.content.scripts = "touch /mnt/shared; ldconfig; mkdir -p /var/lib/web/other\n".to_owned();
    [web, other]
}

/// A tree with both packages, and that of dpkg.
fn installed() -> Planted {
    let packages = [BASE, WEB, ("other", "2", ""), ("dpkg", "1", "")];
    built()
        .file("/var/lib/dpkg/status", 0o644, status(&packages))
        .file("/usr/bin/web-su", 0o4755, "abc")
}

fn with_inputs(change: impl Fn(&mut Inputs)) -> Declared {
    let mut inputs = inputs();
    change(&mut inputs);
    let mut declared = Declared::new(observed(&base()), None, &inputs);
    declared.packages = self::declared().packages;
    for name in ["dpkg", "other"] {
        declared.packages.push(DeclaredPackage {
            name: name.to_owned(),
            exact: None,
        });
    }
    declared
}

fn accepting(path: &str) -> Declared {
    with_inputs(|inputs| {
        let entry = json!({"path": path, "package": "web", "reason": "its script"});
        let apt = inputs.packages.apt.as_mut().unwrap();
        apt.accept = vec![serde_json::from_value(entry).unwrap()];
    })
}

fn checked(tree: &Planted, declared: &Declared) -> (BTreeMap<String, Finding>, Vec<u8>) {
    let (all, explanation) = checked_with(tree, &with_scripts(), declared);
    let all = all.into_iter().map(|finding| (finding.id.clone(), finding));
    (all.collect(), explanation)
}

#[test]
fn what_scripts_made_has_the_package_that_tells_most_about_the_path() {
    let tree = installed()
        .file("/etc/web/made.conf", 0o644, "x")
        .file("/etc/web/other.conf", 0o644, "x")
        .file("/var/lib/web/data/x", 0o600, "x")
        .file("/var/lib/web/other/x", 0o600, "x")
        .file("/usr/share/web/index", 0o644, "x")
        .file("/usr/share/web/__pycache__/a.cpython-311.pyc", 0o644, "x")
        .file("/mnt/shared", 0o644, "x")
        .file("/mnt/unknown", 0o644, "x");
    let (_, explanation) = checked(&tree, &with_inputs(|_| {}));
    for (path, package) in [
        ("/etc/web/made.conf", Some("web")),
        ("/etc/web/other.conf", None),
        ("/var/lib/web", Some("web")),
        ("/var/lib/web/data/x", Some("web")),
        ("/var/lib/web/other/x", Some("other")),
        ("/usr/share/web/index", Some("web")),
        ("/etc/alternatives/ed", Some("dpkg")),
        ("/var/lib/dpkg/status", Some("dpkg")),
        (
            "/etc/systemd/system/multi-user.target.wants/web.service",
            Some("web"),
        ),
        ("/mnt/shared", None),
        ("/mnt/unknown", None),
    ] {
        let package = package.map(str::to_owned);
        let cause = find(&explanation, path.as_bytes()).unwrap();
        assert_eq!(cause, Some(Cause::Scripts { package }), "{path}");
    }
    let kept = find(&explanation, b"/usr/local/bin/kept").unwrap();
    assert_eq!(kept, Some(Cause::Base));
}

#[test]
fn what_can_be_run_is_found_wherever_it_is() {
    let declared = with_inputs(|_| {});
    let clean = installed();
    let (none, _) = checked(&clean, &declared);
    assert!(none.is_empty(), "{none:?}");
    let elf = "\x7fELF and more";
    let info = "/var/lib/dpkg/info/web.postinst";
    for (path, mode, text, expected) in [
        ("/var/lib/web/run", 0o755, "#!/bin/sh\n", "undeclared-file"),
        ("/var/lib/web/x.so", 0o644, elf, "undeclared-file"),
        ("/var/lib/web/data", 0o644, "#!/bin/sh\n", ""),
        ("/var/lib/web/short", 0o644, "\x7fEL", ""),
        // A copy of a packaged file, as in the root directory of a service.
        ("/var/spool/web/usr/sbin/web", 0o755, "abc", ""),
        (
            "/var/spool/web/usr/sbin/web",
            0o755,
            "abd",
            "undeclared-file",
        ),
        (
            "/usr/share/web/__pycache__/a.cpython-311.pyc",
            0o755,
            "x",
            "undeclared-file",
        ),
        ("/root/.bashrc", 0o644, "x", "undeclared-start"),
        ("/etc/profile", 0o644, "x", "undeclared-start"),
        ("/etc/sudoers", 0o440, "x", "undeclared-access"),
        (info, 0o755, "addgroup docker\n", ""),
        (info, 0o755, "addgroup docker\nnc -l\n", "undeclared-file"),
        // The keyboard's scripts are known, but their package is not installed.
        (
            "/etc/console-setup/cached_setup_font.sh",
            0o755,
            "x",
            "undeclared-file",
        ),
        // Declared by a step.
        ("/opt/app/run", 0o755, "x", ""),
    ] {
        let (found, _) = checked(&clean.clone().file(path, mode, text), &declared);
        let ids: Vec<&str> = found.keys().map(String::as_str).collect();
        let expected = match expected {
            "" => Vec::new(),
            check => vec![format!("{check}:{path}")],
        };
        assert_eq!(ids, expected, "{path} {text:?}");
    }
}

#[test]
fn a_program_of_the_base_is_found_if_it_differs() {
    let base = base().file("/srv/run", 0o755, "x");
    for (text, expected) in [("x", 0), ("y", 1)] {
        let tree = built().file("/srv/run", 0o755, text);
        let (root, packaged) = (tree.root(), verify(&tree.root()).unwrap());
        let trees = Trees {
            image: &root,
            base: &base.root(),
            steps: None,
            explain: false,
        };
        let (found, _) = check(&trees, &packaged, &observed(&tree), &declared()).unwrap();
        assert_eq!(found.len(), expected, "{found:?}");
    }
}

#[test]
fn the_template_accepts_what_scripts_make() {
    let tree = installed()
        .file("/var/lib/web/run", 0o755, "x")
        .file("/etc/profile", 0o644, "x");
    for (glob, expected) in [
        ("/var/lib/web/run", &["undeclared-start:/etc/profile"][..]),
        ("/var/lib/web/**", &["undeclared-start:/etc/profile"]),
        ("/etc/profile", &["undeclared-file:/var/lib/web/run"]),
        (
            "/var/lib/other/**",
            &[
                "undeclared-file:/var/lib/web/run",
                "undeclared-start:/etc/profile",
                "unused-exception:/var/lib/other/**",
            ],
        ),
    ] {
        let (found, _) = checked(&tree, &accepting(glob));
        let ids: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(ids, expected, "{glob}");
    }
}

#[test]
fn a_glob_accepts_what_one_of_a_step_declares() {
    let tree = installed().file("/etc/sudoers.d/web", 0o440, "x");
    for (glob, expected) in [
        ("/etc/*.d/*", 1),
        ("/etc/sudoers.d/*", 0),
        ("/etc/sudoers.d", 0),
    ] {
        let (mut found, _) = checked(&tree, &accepting(glob));
        found.retain(|_, finding| finding.path.is_some());
        assert_eq!(found.len(), expected, "{glob}: {found:?}");
    }
    let declared = accepting("/usr/lib/web/su");
    for (path, expected) in [("/usr/lib/web/su", true), ("/usr/lib/web/other", false)] {
        let mut finding = Finding::new("setuid-unpackaged", path, Severity::High, "");
        finding.path = Some(path.to_owned());
        assert_eq!(declared.settles(&finding), expected, "{path}");
    }
}

#[test]
fn a_finding_has_the_lines_that_accept_it() {
    let tree = installed()
        .file("/var/lib/web/run", 0o755, "x")
        .file("/etc/profile", 0o644, "x");
    let lines = |declared: &Declared| {
        let found = checked(&tree, declared).0.into_values();
        found.map(|finding| finding.accept).collect::<Vec<_>>()
    };
    let packages_only = with_inputs(|inputs| {
        inputs.steps.clear();
        inputs.files.clear();
    });
    let found = lines(&packages_only);
    let line = "[packages.apt]\naccept = [{ path = \"/var/lib/web/run\", package = \"web\", reason = \"...\" }]";
    assert!(found.contains(&line.to_owned()), "{found:?}");
    let line = "[packages.apt]\naccept = [{ path = \"/etc/profile\", package = \"...\", reason = \"...\" }]";
    assert!(found.contains(&line.to_owned()), "{found:?}");
    // The tree between scripts and steps is not known.
    assert!(lines(&with_inputs(|_| {})).iter().all(String::is_empty));
}
