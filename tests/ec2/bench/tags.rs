//! Tags of what the bench keeps itself. moto has those of the rest.

use super::Inner;
use super::answer::{Answer, Outcome};
use super::call::Call;
use super::filters;
use super::form::Form;
use super::world::{Tags, World};
use super::xml::Node;

/// EC2 leaves the set out when nothing is in it.
pub fn node(tags: &Tags) -> Option<Node> {
    let tag =
        |(key, value): (&String, &String)| vec![Node::text("key", key), Node::text("value", value)];
    (!tags.is_empty()).then(|| Node::set("tagSet", tags.iter().map(tag)))
}

/// Tags that a call gives to what it makes, of one kind: `image`.
pub fn specified(form: &Form, kind: &str) -> Tags {
    let groups = form.groups("TagSpecification").into_iter();
    let groups = groups.filter(|group| group.text("ResourceType") == kind);
    groups.flat_map(|group| pairs(&group)).collect()
}

fn pairs(form: &Form) -> Vec<(String, String)> {
    let tags = form.groups("Tag").into_iter();
    tags.map(|tag| (tag.text("Key").to_owned(), tag.text("Value").to_owned()))
        .collect()
}

fn of<'a>(
    world: &'a mut World,
    call: &Call,
    id: &str,
) -> Option<Result<&'a mut Tags, super::answer::Refusal>> {
    let (account, region) = (&call.account, &call.region);
    match id.split('-').next() {
        Some("ami") => Some(
            world
                .own_image(id, account, region)
                .map(|image| &mut image.tags),
        ),
        Some("snap") => Some(
            world
                .own_snapshot(id, account, region)
                .map(|snapshot| &mut snapshot.tags),
        ),
        _ => None,
    }
}

/// `CreateTags` and `DeleteTags`: all of the resources, or none.
pub async fn change(inner: &Inner, call: &Call) -> Outcome {
    let ids = call.form.list("ResourceId");
    let mut theirs = call.clone();
    theirs.form.remove_all("ResourceId.");
    let mut count = 0;
    {
        let mut world = inner.world.lock().unwrap();
        for id in &ids {
            if let Some(tags) = of(&mut world, call, id) {
                tags?;
            } else {
                count += 1;
                theirs.form.set(&format!("ResourceId.{count}"), id);
            }
        }
    }
    if count > 0 {
        let answer = inner.ask(&theirs).await;
        if answer.status != 200 {
            return Ok(answer);
        }
    }
    let mut world = inner.world.lock().unwrap();
    for id in &ids {
        let Some(Ok(tags)) = of(&mut world, call, id) else {
            continue;
        };
        for (key, value) in pairs(&call.form) {
            if call.action == "CreateTags" {
                tags.insert(key, value);
            } else {
                tags.remove(&key);
            }
        }
    }
    Ok(Answer::done(&call.action))
}

pub async fn describe(inner: &Inner, call: &Call) -> Outcome {
    let answer = inner.ask(call).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let Some(mut root) = Node::parse(&text).filter(|_| answer.status == 200) else {
        return Ok(answer);
    };
    let filters = filters::of(&call.form);
    let world = inner.world.lock().unwrap();
    let images = world.images.values().filter(|image| !image.deregistered);
    let images = images.map(|image| (&image.id, "image", &image.owner, &image.region, &image.tags));
    let snapshots = world.snapshots.values();
    let snapshots = snapshots.map(|snapshot| {
        (
            &snapshot.id,
            "snapshot",
            &snapshot.owner,
            &snapshot.region,
            &snapshot.tags,
        )
    });
    let ours = images.chain(snapshots);
    for (id, kind, owner, region, tags) in ours {
        if *owner != call.account || *region != call.region {
            continue;
        }
        for (key, value) in tags {
            let is_meant = filters.iter().all(|filter| match filter.name.as_str() {
                "resource-id" => filter.takes(std::slice::from_ref(id)),
                "resource-type" => filter.takes(&[kind.to_owned()]),
                "key" => filter.takes(std::slice::from_ref(key)),
                "value" => filter.takes(std::slice::from_ref(value)),
                name => name == format!("tag:{key}") && filter.takes(std::slice::from_ref(value)),
            });
            if is_meant {
                let item = vec![
                    Node::text("resourceId", id),
                    Node::text("resourceType", kind),
                    Node::text("key", key),
                    Node::text("value", value),
                ];
                if root.child("tagSet").is_none() {
                    root.put(Node::new("tagSet", Vec::new()));
                }
                let set = root.child_mut("tagSet").expect("it was put there");
                set.children_mut().push(Node::new("item", item));
            }
        }
    }
    Ok(Answer::document(200, &root))
}
