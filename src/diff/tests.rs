use std::sync::LazyLock;

use super::*;
use crate::digest::Digest;
use crate::record::manifest::Package;
use crate::record::manifest::tests::example;
use crate::scan::report::policy::{Judged, Kind, Verdict};
use crate::scan::report::{LeftOut, Report, Subject};
use crate::scan::run::Check;
use crate::scan::{Finding, Severity};

static EMPTY: LazyLock<MadeByScripts> = LazyLock::new(MadeByScripts::new);

fn known(manifest: &Manifest) -> DiffInput<'_> {
    DiffInput {
        id: ManifestId::of(&manifest.to_bytes().unwrap()),
        manifest,
        listing: None,
        scan: None,
        owner: None,
        made_by_scripts: &EMPTY,
    }
}

fn compared(first: &Manifest, second: &Manifest) -> Diff {
    diff(&known(first), &known(second), |_| None)
}

#[test]
fn every_input_that_differs_is_told_under_its_key() {
    type Edit = fn(&mut Manifest);
    let cases: [(Edit, &str); 11] = [
        (|_| (), ""),
        (
            |manifest| manifest.inputs.template.digest = Digest::of(b""),
            "template.digest",
        ),
        (|manifest| manifest.inputs.template.text.push('#'), ""),
        (|manifest| manifest.inputs.base.size = 5, "base.size"),
        (|manifest| manifest.inputs.lock = None, "lock.digest"),
        (
            |manifest| manifest.inputs.steps[4].name = "wait".to_owned(),
            "steps.step (5) steps.wait",
        ),
        (
            |manifest| manifest.inputs.steps[0].creates.clear(),
            "steps.step.creates.x",
        ),
        (|manifest| manifest.inputs.secrets.clear(), "secrets.token"),
        (
            |manifest| manifest.inputs.network.open = false,
            "network.open",
        ),
        (
            |manifest| manifest.inputs.finish = None,
            "finish.drop./srv/cache/* finish.rebuild",
        ),
        (|manifest| manifest.inputs.hermetic = true, "hermetic"),
    ];
    let first = example("web", "x", b"image");
    for (edit, expected) in cases {
        let mut second = first.clone();
        edit(&mut second);
        let diff = compared(&first, &second);
        assert_eq!(diff.identical, first == second);
        let told = diff.inputs.iter().flat_map(|(key, changes)| {
            let path = |change: &Change| {
                [std::slice::from_ref(key), &change.what[..]]
                    .concat()
                    .join(".")
            };
            changes.iter().map(path)
        });
        assert_eq!(told.collect::<Vec<_>>().join(" "), expected);
    }
}

#[test]
fn findings_are_told_by_package_and_only_of_checks_that_both_scans_made() {
    let mut first = example("web", "x", b"image");
    let mut second = first.clone();
    let version = |manifest: &mut Manifest, version: &str| {
        manifest.outputs.packages[0] = Package {
            version: version.to_owned(),
            ..manifest.outputs.packages[0].clone()
        };
    };
    version(&mut first, "1");
    version(&mut second, "2");
    let finding = |kind, id: &str, package: &str| {
        let mut finding = Finding::new("check", id, Severity::High, "t");
        finding.package = Some(package.to_owned());
        let verdict = Verdict::Told;
        Judged {
            kind,
            finding,
            verdict,
        }
    };
    let report = |findings, left_out: Option<Check>| {
        let because = String::from("it was");
        let left_out = left_out.map(|check| LeftOut { check, because });
        let report = Report {
            subject: Subject::default(),
            checks: Vec::new(),
            left_out: left_out.into_iter().collect(),
            database: None,
            packages: 0,
            findings,
        };
        report.json()
    };
    let vulnerable = |id: &str| finding(Kind::Vulnerability, id, "nginx-light");
    let one = report(
        vec![
            vulnerable("CVE-1"),
            vulnerable("CVE-2"),
            finding(Kind::Secret, "key", "x"),
        ],
        None,
    );
    let other = report(
        vec![vulnerable("CVE-2"), vulnerable("CVE-3")],
        Some(Check::Secrets),
    );
    let found = [&one, &other].map(|report| report.found().unwrap());
    let scan = |report, found| Scan {
        scanned: "2026-01-31T12:00:00Z".parse().unwrap(),
        report,
        found,
    };
    let mut both = [known(&first), known(&second)];
    both[0].scan = Some(scan(&one, &found[0]));
    both[1].scan = Some(scan(&other, &found[1]));
    let told = diff(&both[0], &both[1], |package| {
        Some(BTreeSet::from([format!("CVE of {}", package.name)]))
    });
    let set = |id: &str| BTreeSet::from([id.to_owned()]);
    let [package] = &told.packages[..] else {
        panic!("{:?}", told.packages)
    };
    assert_eq!(package.change, PackageKind::Upgraded);
    assert_eq!(package.fixed, set("CVE-1"));
    assert_eq!(package.introduced, set("CVE-3"));
    assert_eq!(package.changelog, Some(set("CVE of nginx-light")));
    let findings = told.findings.unwrap();
    assert_eq!(findings.fixed.len(), 1, "a skipped check found nothing new");
    let not: Vec<_> = told
        .not_compared
        .iter()
        .map(|part| part.what.as_str())
        .collect();
    assert_eq!(not, ["files", "secrets"]);
}

#[test]
fn a_path_is_owned_by_its_package_else_by_the_template() {
    let mut made = example("web", "x", b"image");
    let mut directory = made.inputs.files[0].clone();
    directory.destination = "/srv/app".to_owned();
    directory.mode = None;
    made.inputs.files.push(directory);
    let of = |path: &[u8]| path.starts_with(b"/usr").then(|| "app".to_owned());
    let mut known = known(&made);
    let package = "app".to_owned();
    assert_eq!(known.owner(b"/usr/bin/app"), Owner::Unknown);
    known.owner = Some(&of);
    let made = [("/etc/made", None), ("/usr/made", Some(package.clone()))];
    let made = made.map(|(path, package)| (path.as_bytes().to_vec(), package));
    let made = MadeByScripts::from(made);
    known.made_by_scripts = &made;
    for (path, expected) in [
        (
            "/usr/bin/app",
            Owner::Package {
                package: package.clone(),
            },
        ),
        ("/etc/made", Owner::Scripts { package: None }),
        (
            "/usr/made",
            Owner::Scripts {
                package: Some(package.clone()),
            },
        ),
        ("/etc/motd", Owner::Template),
        ("/etc/motd/x", Owner::Nobody),
        ("/srv/app/a/b", Owner::Template),
        ("/srv/application", Owner::Nobody),
    ] {
        assert_eq!(known.owner(path.as_bytes()), expected, "{path}");
    }
}
