//! Security groups, as far as they decide whether SSH gets through: the default group lets nobody in, as in EC2.

use super::Inner;
use super::call::Call;
use super::xml::Node;

const SSH: i32 = 22;

/// Whether any rule of an instance's groups lets SSH in. From where is not looked at: everybody is on loopback here.
pub async fn lets_ssh_in(inner: &Inner, id: &str) -> bool {
    let (account, region, groups) = {
        let world = inner.world.lock().unwrap();
        let instance = &world.instances[id];
        let place = (instance.owner.clone(), instance.region.clone());
        (place.0, place.1, instance.groups.clone())
    };
    let names: Vec<String> = (1..=groups.len())
        .map(|number| format!("GroupId.{number}"))
        .collect();
    let names = names.iter().map(String::as_str);
    let asked: Vec<(&str, &str)> = names.zip(groups.iter().map(String::as_str)).collect();
    let call = Call::ec2(&account, &region, "DescribeSecurityGroups", &asked);
    let answer = inner.ask(&call).await;
    let root = Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default();
    let groups = root.items("securityGroupInfo").iter();
    let mut rules = groups.flat_map(|group| group.items("ipPermissions"));
    rules.any(lets_in)
}

fn lets_in(rule: &Node) -> bool {
    let port = |name: &str, default: i32| rule.value(name).parse().unwrap_or(default);
    let fits = match rule.value("ipProtocol") {
        "-1" => true,
        "tcp" | "6" => (port("fromPort", 0)..=port("toPort", 65_535)).contains(&SSH),
        _ => false,
    };
    fits && !rule.items("ipRanges").is_empty()
}
