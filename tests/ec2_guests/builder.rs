//! Whole builds on EC2: an AMI of Debian, an image made of it, and another one made of that.

use std::process::Stdio;
use std::time::Duration;

use crate::bench::Bench;
use crate::site::Site;
use crate::support::base as shared;

const REGION: &str = "us-east-1";

/// The id of the AMI that a build has told of.
fn ami_of(said: &str) -> String {
    let at = said.find("ami  ami-").expect("it says which AMI it made");
    let text = &said[at + 5..];
    text.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn an_image_is_made_of_an_ami_and_another_one_of_that() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let account = bench.account();
    account.boot_guests();
    let site = Site::new(&account);
    let base = shared::make(&shared::cache(), site.path()).await;
    bench.seed_ami(&base, REGION, "debian-12-amd64-20260101");
    site.write("greeting", "golden\n");
    site.write(
        "web.toml",
        "[image]\nname = \"web\"\ndescription = \"made on EC2\"\n\
         [base.ami]\nowners = [\"136693071363\"]\nname = \"debian-12-amd64-*\"\n\
         [builder.ec2]\ntags = { team = \"web\" }\n\
         [ssh]\ntimeout = \"8m\"\n\
         [packages.apt]\ninstall = [\"tree\"]\n\
         [[files]]\nsource = \"greeting\"\ndestination = \"/etc/greeting\"\n\
         [[provision]]\nname = \"mark\"\nshell = { inline = [\"mkdir -p /srv/app && cat /etc/greeting >/srv/app/mark\"] }\ncreates = [\"/srv/app/**\"]\n\
         [publish.ec2]\nname = \"golden/web\"\ndeprecate_after = \"90d\"\naccounts = [\"123456789012\"]\n",
    );
    let ran = site.karat(&["build", "web.toml", "--without", "vulnerabilities"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    eprintln!("{}", ran.stderr);
    let id = ran.stdout.trim().to_owned();
    let golden = ami_of(&ran.stderr);

    // Nothing is left but the AMI and its snapshot, and nobody has waited for the instance.
    let mut left = account.left();
    left.retain(|line| !line.contains(&golden) && !line.contains(" snapshot "));
    assert!(
        left.iter().all(|line| line.contains("instance")),
        "{left:?}"
    );
    let shown = site.done(&["show", &id, "--json"]);
    assert!(
        shown.contains("\"kind\": \"ami\"") || shown.contains("\"kind\":\"ami\""),
        "{shown}"
    );
    let verified = site.done(&["verify", &id]);
    assert!(verified.contains("publication"), "{verified}");

    // The AMI is as it was recorded, for whoever looks later.
    let again = site.karat(&["publish", &id, "--region", REGION, "--verify", "--json"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(
        again.stdout.contains(&golden) && again.stdout.contains("\"existing\":true"),
        "{again:?}"
    );

    site.write(
        "next.toml",
        &format!(
            "[image]\nname = \"next\"\n[base.ami]\nid = \"{golden}\"\n[builder.ec2]\n[ssh]\ntimeout = \"8m\"\n\
             [[provision]]\nname = \"look\"\nshell = {{ inline = [\n\
             \"grep -qx golden /etc/greeting\", \"grep -qx golden /srv/app/mark\", \"tree --version\",\n\
             \"test -s /etc/machine-id\", \"if ip route get 192.0.2.1; then exit 1; fi\"] }}\n\
             [[test]]\ncommand = \"grep -qx golden /srv/app/mark && tree --version && test -s /etc/machine-id\"\n"
        ),
    );
    let ran = site.karat(&["build", "next.toml", "--without", "vulnerabilities"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[tokio::test]
async fn an_image_that_the_policy_refuses_is_never_an_ami() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let account = bench.account();
    account.boot_guests();
    let site = Site::new(&account);
    let base = shared::make(&shared::cache(), site.path()).await;
    let (ami, _) = bench.seed_ami(&base, REGION, "debian-12-amd64-20260101");
    site.write(
        "web.toml",
        &format!(
            "[image]\nname = \"web\"\n[base.ami]\nid = \"{ami}\"\n[builder.ec2]\nspot = true\n[ssh]\ntimeout = \"8m\"\n\
             [[provision]]\nname = \"plant\"\nshell = {{ inline = [\"echo x >/usr/bin/stranger\"] }}\n"
        ),
    );
    let mut command = site.command(&["build", "web.toml", "--without", "vulnerabilities"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(3 | 4)), "{said}");
    assert!(said.contains("/usr/bin/stranger"), "{said}");
    assert_eq!(account.count("ec2:RegisterImage"), 0, "{said}");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(account.left(), [""; 0], "{said}");
}
