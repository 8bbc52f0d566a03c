//! Channels that move a parameter and a launch template in two regions.

use std::process::Command;

use crate::bench::faults::Fault;
use crate::bench::{Account, Bench};
use crate::site::{MIB, Site};

const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// Two images that are published in two regions, the first one promoted.
struct Two<'a> {
    bench: &'a Bench,
    account: Account,
    site: Site,
    ids: [String; 2],
    /// By image, then by region.
    amis: [[String; 2]; 2],
}

impl<'a> Two<'a> {
    fn new(bench: &'a Bench) -> Self {
        let account = bench.account();
        let site = Site::new(&account);
        bench.python(
            &account,
            "for region in ['us-east-1', 'eu-west-1']:\n\
             \x20   client('ec2', region).create_launch_template(LaunchTemplateName='web', LaunchTemplateData={'InstanceType': 't3.micro'})",
        );
        let policy = "require_scan = false\n\
            [ec2]\nregions = [\"us-east-1\", \"eu-west-1\"]\n\
            parameter = \"/golden/web\"\nlaunch_template = \"web\"\n";
        std::fs::create_dir_all(site.path().join("store/channels/web")).unwrap();
        site.write("store/channels/web/stable.toml", policy);
        let ids = [1, 2].map(|value| site.import("web", 64 * MIB, &[(0, 1), (7, value)]));
        let amis = ids.each_ref().map(|id| {
            let ran = site.karat(&[
                "publish", id, "--region", REGIONS[0], "--region", REGIONS[1],
            ]);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            let images: [String; 2] = ran.images().try_into().unwrap();
            images
        });
        site.done(&["promote", &ids[0], "web/stable"]);
        Self {
            bench,
            account,
            site,
            ids,
            amis,
        }
    }

    /// What parameters and launch templates name, region by region, and how many versions the templates have.
    fn names(&self) -> String {
        let lines = "for region in ['us-east-1', 'eu-west-1']:\n\
             \x20   value = client('ssm', region).get_parameter(Name='/golden/web')['Parameter']\n\
             \x20   versions = client('ec2', region).describe_launch_template_versions(LaunchTemplateName='web')['LaunchTemplateVersions']\n\
             \x20   default = [it for it in versions if it['DefaultVersion']][0]\n\
             \x20   print(value['Value'], default['LaunchTemplateData']['ImageId'], len(versions))";
        self.bench.python(&self.account, lines)
    }

    /// The same, as it should be.
    fn expected(&self, image: usize, versions: usize) -> String {
        let lines = self.amis[image].iter();
        let lines = lines.map(|ami| format!("{ami} {ami} {versions}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn promote_and_rollback_move_everything_in_every_region() {
    let Some(bench) = Bench::start() else { return };
    let two = Two::new(bench);
    assert_eq!(two.names(), two.expected(0, 2));
    two.site.done(&["promote", &two.ids[1], "web/stable"]);
    assert_eq!(two.names(), two.expected(1, 3));
    let before = two.account.calls().len();
    two.site.done(&["rollback", "web/stable", "--check"]);
    assert_eq!(two.names(), two.expected(1, 3));
    two.site.done(&["rollback", "web/stable"]);
    assert_eq!(two.names(), two.expected(0, 4));
    assert!(two.account.calls().len() > before);
    let shown = two.site.done(&["verify", "web/stable", "--ec2"]);
    assert!(shown.contains("eu-west-1 ami-"), "{shown}");

    // Somebody has moved the parameter by hand: it is told, and the next promotion puts it right.
    let by_hand = format!(
        "client('ssm', 'eu-west-1').put_parameter(Name='/golden/web', Value='{}', Type='String', Overwrite=True)",
        two.amis[1][1]
    );
    bench.python(&two.account, &by_hand);
    let ran = two.site.karat(&["verify", "web/stable", "--ec2"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("parameter /golden/web"), "{ran:?}");
    two.site.done(&["promote", &two.ids[0], "web/stable"]);
    assert_eq!(two.names(), two.expected(0, 4));
}

#[test]
fn a_region_that_fails_leaves_all_as_it_was() {
    let Some(bench) = Bench::start() else { return };
    let two = Two::new(bench);
    for call in [
        "ssm:PutParameter@eu-west-1",
        "ec2:CreateLaunchTemplateVersion@eu-west-1",
        "ec2:ModifyLaunchTemplate@us-east-1",
    ] {
        two.account.fault(call, 1, Fault::Denied);
        let ran = two.site.karat(&["promote", &two.ids[1], "web/stable"]);
        assert_eq!(ran.code, Some(1), "{call}: {ran:?}");
        assert_eq!(two.names(), two.expected(0, 2), "{call}");
        let history = two.site.done(&["history", "web/stable"]);
        assert_eq!(history.lines().count(), 1, "{history}");
    }
}

#[test]
fn an_ami_that_is_gone_or_not_shared_is_refused() {
    let Some(bench) = Bench::start() else { return };
    let two = Two::new(bench);
    let gone = format!(
        "client('ec2', 'eu-west-1').deregister_image(ImageId='{}')",
        two.amis[1][1]
    );
    bench.python(&two.account, &gone);
    let ran = two.site.karat(&["promote", &two.ids[1], "web/stable"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("eu-west-1"), "{ran:?}");
    assert_eq!(two.names(), two.expected(0, 2));
    let disabled = format!(
        "client('ec2', 'us-east-1').disable_image(ImageId='{}')",
        two.amis[0][0]
    );
    bench.python(&two.account, &disabled);
    let ran = two.site.karat(&["verify", "web/stable", "--ec2"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("is disabled"), "{ran:?}");
}

#[test]
fn a_move_that_was_killed_is_ended_by_the_next_one() {
    let Some(bench) = Bench::start() else { return };
    let two = Two::new(bench);
    let mut versions = 2;
    for call in [
        "ssm:PutParameter@us-east-1",
        "ec2:CreateLaunchTemplateVersion@eu-west-1",
        "ec2:ModifyLaunchTemplate@eu-west-1",
    ] {
        let child = two.site.command(&["promote", &two.ids[1], "web/stable"]);
        two.killed_after(call, child);
        // Back to the first: undone, since the channel had not moved.
        let ran = two.site.karat(&["promote", &two.ids[0], "web/stable"]);
        assert_eq!(ran.code, Some(0), "{call}: {ran:?}");
        assert_eq!(two.names(), two.expected(0, versions), "{call}: {ran:?}");
    }
    two.site.done(&["promote", &two.ids[1], "web/stable"]);
    versions += 1;
    assert_eq!(two.names(), two.expected(1, versions));
}

impl Two<'_> {
    /// Runs karat, and kills it when this call has been carried out.
    fn killed_after(&self, call: &str, mut command: Command) {
        let victim = self.account.kill_after(call, 1);
        let mut child = command
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        victim.is(child.id());
        child.wait().unwrap();
        self.account.clear();
    }
}
