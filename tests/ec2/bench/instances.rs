//! Instances: moto's records of them, shown with their true state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::filters::{self, Filter};
use super::guest;
use super::world::{Instance, State};
use super::xml::Node;

/// A guest that does not power off within this is switched off, as EC2 does.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// Filters by what moto does not know.
const OURS: [&str; 6] = [
    "instance-state-name",
    "instance-state-code",
    "image-id",
    "ip-address",
    "private-ip-address",
    "architecture",
];

pub fn no_instance(id: &str) -> Refusal {
    let message = format!("The instance ID '{id}' does not exist");
    Refusal::new("InvalidInstanceID.NotFound", message)
}

/// Puts what is true into every instance of an answer.
pub fn show(inner: &Inner, root: &mut Node) {
    let mut world = inner.world.lock().unwrap();
    let images = world.images.clone();
    root.each("item", &mut |item| {
        let Some(instance) = world.instances.get_mut(item.value("instanceId")) else {
            return;
        };
        if item.child("instanceState").is_some() {
            item.put(instance.state().node("instanceState"));
        }
        if item.child("imageId").is_some() {
            show_instance(instance, images.get(&instance.image), item);
        }
    });
}

fn show_instance(instance: &mut Instance, image: Option<&super::world::Image>, item: &mut Node) {
    item.put(Node::text("imageId", &instance.image));
    let is_gone = instance.state() == State::Terminated;
    for name in ["ipAddress", "privateIpAddress"] {
        item.put(Node::text(
            name,
            if is_gone { "" } else { &instance.address },
        ));
    }
    let address = instance.address.replace('.', "-");
    item.put(Node::text(
        "dnsName",
        format!("ec2-{address}.compute-1.amazonaws.com"),
    ));
    if is_gone {
        for name in ["ipAddress", "privateIpAddress"] {
            item.children_mut().retain(|child| child.name() != name);
        }
    }
    if let Some(image) = image {
        item.put(Node::text("architecture", &image.architecture));
        item.put(Node::text("rootDeviceName", &image.root));
        item.put(Node::text("virtualizationType", "hvm"));
    }
    let ended = !matches!(instance.state(), State::Pending | State::Running);
    if let (Some((code, message)), true) = (&instance.reason, ended) {
        let reason = vec![Node::text("code", code), Node::text("message", message)];
        item.put(Node::new("stateReason", reason));
        item.put(Node::text("reason", message));
    }
}

pub async fn describe(inner: &Inner, call: &Call) -> Outcome {
    let (ours, theirs): (Vec<Filter>, Vec<Filter>) = filters::of(&call.form)
        .into_iter()
        .partition(|filter| OURS.contains(&filter.name.as_str()));
    let mut ask = call.clone();
    ask.form.remove_all("Filter.");
    for (index, filter) in theirs.iter().enumerate() {
        let prefix = format!("Filter.{}", index + 1);
        ask.form.set(&format!("{prefix}.Name"), &filter.name);
        for (index, value) in filter.values.iter().enumerate() {
            ask.form
                .set(&format!("{prefix}.Value.{}", index + 1), value);
        }
    }
    let answer = inner.ask(&ask).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let Some(mut root) = Node::parse(&text).filter(|_| answer.status == 200) else {
        return Ok(answer);
    };
    show(inner, &mut root);
    if let Some(set) = root.child_mut("reservationSet") {
        for reservation in set.children_mut() {
            let Some(instances) = reservation.child_mut("instancesSet") else {
                continue;
            };
            instances
                .children_mut()
                .retain(|item| ours.iter().all(|filter| matches(item, filter)));
        }
        set.children_mut()
            .retain(|item| !item.items("instancesSet").is_empty());
    }
    Ok(Answer::document(200, &root))
}

fn matches(item: &Node, filter: &Filter) -> bool {
    let path = match filter.name.as_str() {
        "instance-state-name" => "instanceState/name",
        "instance-state-code" => "instanceState/code",
        "image-id" => "imageId",
        "ip-address" => "ipAddress",
        "private-ip-address" => "privateIpAddress",
        _ => "architecture",
    };
    filter.takes(&[item.value(path).to_owned()])
}

pub async fn describe_status(inner: &Inner, call: &Call) -> Outcome {
    let mut ask = call.clone();
    ask.form.set("IncludeAllInstances", true);
    let answer = inner.ask(&ask).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let Some(mut root) = Node::parse(&text).filter(|_| answer.status == 200) else {
        return Ok(answer);
    };
    show(inner, &mut root);
    let all = call.form.is_true("IncludeAllInstances");
    if let Some(set) = root.child_mut("instanceStatusSet") {
        set.children_mut()
            .retain(|item| all || item.value("instanceState/name") == "running");
    }
    Ok(Answer::document(200, &root))
}

/// Start, stop, terminate, reboot: all of the instances, or none.
pub async fn change(inner: &Arc<Inner>, call: &Call) -> Outcome {
    let ids = call.form.list("InstanceId");
    let before = check(inner, call, &ids)?;
    let answer = inner.ask(call).await;
    if answer.status != 200 || call.action == "RebootInstances" {
        return Ok(answer);
    }
    let items: Vec<Vec<Node>> = ids
        .iter()
        .zip(before)
        .map(|(id, before)| {
            let now = enter(inner, call, id, before);
            vec![
                Node::text("instanceId", id),
                now.node("currentState"),
                before.node("previousState"),
            ]
        })
        .collect();
    Ok(Answer::xml(
        &call.action,
        vec![Node::set("instancesSet", items)],
    ))
}

/// The states before.
fn check(inner: &Inner, call: &Call, ids: &[String]) -> Result<Vec<State>, Refusal> {
    let mut world = inner.world.lock().unwrap();
    let mut states = Vec::new();
    for id in ids {
        let is_ours = |instance: &&mut Instance| {
            instance.owner == call.account && instance.region == call.region
        };
        let instance = world
            .instances
            .get_mut(id)
            .filter(is_ours)
            .ok_or_else(|| no_instance(id))?;
        let state = instance.state();
        let fits = match call.action.as_str() {
            "StartInstances" => matches!(state, State::Stopped | State::Running | State::Pending),
            "StopInstances" => matches!(state, State::Running | State::Stopping | State::Stopped),
            "RebootInstances" => state == State::Running,
            _ => true,
        };
        if !fits {
            let message =
                format!("The instance '{id}' is not in a state from which this can be done.");
            return Err(Refusal::new("IncorrectInstanceState", message));
        }
        states.push(state);
    }
    Ok(states)
}

fn enter(inner: &Arc<Inner>, call: &Call, id: &str, before: State) -> State {
    let (delay, boots) = (
        inner.delay(&call.account),
        inner.boots_guests(&call.account),
    );
    let mut world = inner.world.lock().unwrap();
    let instance = world.instances.get_mut(id).expect("it was checked");
    let later = Instant::now() + delay;
    match (call.action.as_str(), before) {
        ("StartInstances", State::Stopped) => {
            instance.reason = None;
            let next = (!boots).then_some((later, State::Running));
            instance.enter(State::Pending, next);
            drop(world);
            if boots {
                guest::start(inner, id);
            }
            State::Pending
        }
        ("StopInstances", State::Running) => {
            instance.reason = Some(by_user());
            match instance.guest.take() {
                None => instance.enter(State::Stopping, Some((later, State::Stopped))),
                Some(guest) => {
                    instance.enter(State::Stopping, None);
                    let (inner, id) = (Arc::clone(inner), id.to_owned());
                    tokio::spawn(async move {
                        guest.power_off(STOP_LIMIT).await;
                        let mut world = inner.world.lock().unwrap();
                        if let Some(instance) = world.instances.get_mut(&id)
                            && instance.state == State::Stopping
                        {
                            instance.enter(State::Stopped, None);
                        }
                    });
                }
            }
            State::Stopping
        }
        ("TerminateInstances", before) if before != State::Terminated => {
            instance.guest = None;
            instance.reason = Some(by_user());
            instance.enter(State::ShuttingDown, Some((later, State::Terminated)));
            State::ShuttingDown
        }
        _ => before,
    }
}

fn by_user() -> (String, String) {
    let code = "Client.UserInitiatedShutdown";
    (code.to_owned(), format!("{code}: User initiated shutdown"))
}

/// Has moto follow what happened to an instance by itself.
pub fn tell_moto(inner: &Arc<Inner>, instance: &Instance, action: &str, after: Duration) {
    let call = Call::ec2(
        &instance.owner,
        &instance.region,
        action,
        &[("InstanceId.1", &instance.id)],
    );
    let inner = Arc::clone(inner);
    inner.runtime.clone().spawn(async move {
        tokio::time::sleep(after).await;
        inner.ask(&call).await;
    });
}

/// The guest of an instance is gone, and nobody asked for it.
pub fn ended(inner: &Arc<Inner>, id: &str, serial: u64) {
    let mut world = inner.world.lock().unwrap();
    let Some(instance) = world.instances.get_mut(id) else {
        return;
    };
    if instance
        .guest
        .as_ref()
        .is_none_or(|guest| guest.serial != serial)
    {
        return;
    }
    instance.guest = None;
    let code = "Client.InstanceInitiatedShutdown";
    let message = format!("{code}: Instance initiated shutdown");
    instance.reason = Some((code.to_owned(), message));
    let (state, action) = if instance.ends_with_shutdown {
        (State::Terminated, "TerminateInstances")
    } else {
        (State::Stopped, "StopInstances")
    };
    instance.enter(state, None);
    tell_moto(inner, instance, action, Duration::ZERO);
}

/// The host of an instance breaks down.
pub fn kill(inner: &Arc<Inner>, id: &str) {
    let mut world = inner.world.lock().unwrap();
    let instance = world
        .instances
        .get_mut(id)
        .expect("there is such an instance");
    instance.guest = None;
    let code = "Server.InternalError";
    instance.reason = Some((code.to_owned(), format!("{code}: Internal error")));
    instance.enter(State::Terminated, None);
    tell_moto(inner, instance, "TerminateInstances", Duration::ZERO);
}

/// Powers a running guest off without anybody noticing; whether there was one.
pub async fn pause(inner: &Inner, id: &str) -> bool {
    let guest = inner
        .world
        .lock()
        .unwrap()
        .instances
        .get_mut(id)
        .and_then(|instance| instance.guest.take());
    match guest {
        Some(guest) => {
            guest.power_off(STOP_LIMIT).await;
            true
        }
        None => false,
    }
}

/// Boots a guest that was paused, if its instance still runs.
pub fn resume(inner: &Arc<Inner>, id: &str) {
    let runs = {
        let mut world = inner.world.lock().unwrap();
        world
            .instances
            .get_mut(id)
            .is_some_and(|instance| instance.state() == State::Running)
    };
    if runs {
        guest::start(inner, id);
    }
}

pub fn console(inner: &Inner, call: &Call) -> Outcome {
    let id = call.form.text("InstanceId");
    check(inner, call, &[id.to_owned()])?;
    let path = inner
        .disk(&call.account, id)
        .map(|disk| disk.with_file_name("console.log"));
    let text = path
        .and_then(|path| std::fs::read(path).ok())
        .unwrap_or_default();
    // What EC2 keeps.
    let end = &text[text.len().saturating_sub(64 << 10)..];
    let children = vec![
        Node::text("instanceId", id),
        Node::text("timestamp", karat::time::Timestamp::now()),
        Node::text("output", data_encoding::BASE64.encode(end)),
    ];
    Ok(Answer::xml(&call.action, children))
}

pub async fn delete_group(inner: &Inner, call: &Call) -> Outcome {
    let ask = |name: &'static str, value: &str| {
        Call::ec2(
            &call.account,
            &call.region,
            "DescribeSecurityGroups",
            &[(name, value)],
        )
    };
    let mut id = call.form.text("GroupId").to_owned();
    if id.is_empty() {
        let answer = inner
            .ask(&ask("GroupName.1", call.form.text("GroupName")))
            .await;
        let root = Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default();
        id = root
            .items("securityGroupInfo")
            .first()
            .map(|group| group.value("groupId").to_owned())
            .unwrap_or_default();
    }
    let is_used = {
        let mut world = inner.world.lock().unwrap();
        world.instances.values_mut().any(|instance| {
            instance.owner == call.account
                && instance.groups.contains(&id)
                && instance.state() != State::Terminated
        })
    };
    if is_used {
        let message = format!("resource {id} has a dependent object");
        return Err(Refusal::new("DependencyViolation", message));
    }
    Ok(inner.ask(call).await)
}
