//! What is left in an account.

use super::Inner;
use super::call::Call;
use super::world::State;
use super::xml::Node;

/// What moto keeps: call, set, field that names it.
const THEIRS: [(&str, &str, &str, &str); 4] = [
    ("DescribeVolumes", "volumeSet", "volumeId", "volume"),
    ("DescribeKeyPairs", "keySet", "keyName", "key pair"),
    (
        "DescribeSecurityGroups",
        "securityGroupInfo",
        "groupName",
        "security group",
    ),
    (
        "DescribeLaunchTemplates",
        "launchTemplates",
        "launchTemplateName",
        "launch template",
    ),
];

/// Everything that exists, sorted: `us-east-1 snapshot snap-1`.
pub async fn of(inner: &Inner, account: &str) -> Vec<String> {
    let mut left = ours(inner, account);
    let regions: Vec<String> = {
        let world = inner.world.lock().unwrap();
        let used = world.regions.iter().filter(|(owner, _)| owner == account);
        used.map(|(_, region)| region.clone()).collect()
    };
    for region in regions {
        for (action, set, field, kind) in THEIRS {
            let answer = inner.ask(&Call::ec2(account, &region, action, &[])).await;
            let root = Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default();
            let names = root.items(set).iter().map(|item| item.value(field));
            let names = names.filter(|name| *name != "default");
            left.extend(names.map(|name| format!("{region} {kind} {name}")));
        }
        let parameters = super::ssm::names(inner, account, &region).await;
        left.extend(
            parameters
                .into_iter()
                .map(|name| format!("{region} parameter {name}")),
        );
    }
    left.sort();
    left
}

fn ours(inner: &Inner, account: &str) -> Vec<String> {
    let mut world = inner.world.lock().unwrap();
    let mut left = Vec::new();
    for instance in world
        .instances
        .values_mut()
        .filter(|instance| instance.owner == account)
    {
        let state = instance.state();
        if !matches!(state, State::Terminated | State::ShuttingDown) {
            left.push(format!("{} instance {}", instance.region, instance.id));
        }
    }
    let images = world.images.values();
    let images = images.filter(|image| image.owner == account && !image.deregistered);
    left.extend(images.map(|image| format!("{} image {}", image.region, image.id)));
    let snapshots = world
        .snapshots
        .values()
        .filter(|snapshot| snapshot.owner == account);
    left.extend(snapshots.map(|snapshot| format!("{} snapshot {}", snapshot.region, snapshot.id)));
    left
}
