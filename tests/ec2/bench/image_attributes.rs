//! What can be changed about an image: whom it is shared with, its end, and whether it may be used.

use std::collections::BTreeSet;

use karat::time::Timestamp;

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::form::Form;
use super::images;
use super::world::Image;
use super::xml::Node;

/// Whom to share with (true) or no longer (false).
type Changes = Vec<(bool, String)>;

/// Reads both ways of writing it: `LaunchPermission.Add.1.UserId`, and `OperationType` with `UserId.1`.
pub fn shares(form: &Form, permission: &str) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    for (verb, adds) in [("Add", true), ("Remove", false)] {
        for group in form.groups(&format!("{permission}.{verb}")) {
            changes.extend(group.0.into_values().map(|with| (adds, with)));
        }
        if form.text("OperationType").eq_ignore_ascii_case(verb) {
            for list in [
                "UserId",
                "UserGroup",
                "GroupName",
                "Group",
                "OrganizationArn",
                "OrganizationalUnitArn",
            ] {
                changes.extend(form.list(list).into_iter().map(|with| (adds, with)));
            }
        }
    }
    for (_, with) in &changes {
        let is_account = with.len() == 12 && with.bytes().all(|byte| byte.is_ascii_digit());
        let is_organisation = with.starts_with("arn:aws:organizations::");
        if !is_account && !is_organisation && with != "all" {
            let code = if permission == "LaunchPermission" {
                "InvalidAMIAttributeItemValue"
            } else {
                "InvalidUserID.Malformed"
            };
            let message = format!("Invalid attribute item value \"{with}\" for userId item type.");
            return Err(Refusal::new(code, message));
        }
    }
    Ok(changes)
}

pub fn apply(shared: &mut BTreeSet<String>, changes: Changes) {
    for (adds, with) in changes {
        if adds {
            shared.insert(with);
        } else {
            shared.remove(&with);
        }
    }
}

pub fn shared_node(name: &str, shared: &BTreeSet<String>) -> Node {
    let item = |with: &String| {
        let kind = match with.as_str() {
            "all" => "group",
            arn if arn.contains(":ou/") => "organizationalUnitArn",
            arn if arn.starts_with("arn:") => "organizationArn",
            _ => "userId",
        };
        vec![Node::text(kind, with)]
    };
    Node::set(name, shared.iter().map(item))
}

pub fn modify(inner: &Inner, call: &Call) -> Outcome {
    let changes = shares(&call.form, "LaunchPermission")?;
    let mut world = inner.world.lock().unwrap();
    let image = world.own_image(call.form.text("ImageId"), &call.account, &call.region)?;
    if image.state() == "failed" || image.state() == "pending" {
        let message = format!("The image '{}' is not available", image.id);
        return Err(Refusal::new("InvalidAMIID.Unavailable", message));
    }
    apply(&mut image.shared, changes);
    if let Some(description) = call.form.get("Description.Value") {
        description.clone_into(&mut image.description);
    }
    if let Some(imds) = call.form.get("ImdsSupport.Value") {
        image.imds = Some(imds.to_owned());
    }
    Ok(Answer::done(&call.action))
}

pub fn describe(inner: &Inner, call: &Call) -> Outcome {
    let mut world = inner.world.lock().unwrap();
    let image = world.own_image(call.form.text("ImageId"), &call.account, &call.region)?;
    let value = |name: &str, value: &str| {
        let value = (!value.is_empty()).then(|| Node::text("value", value));
        Node::new(name, value.into_iter().collect())
    };
    let text = |option: &Option<String>| option.clone().unwrap_or_default();
    let attribute = match call.form.text("Attribute") {
        "launchPermission" => shared_node("launchPermission", &image.shared),
        "blockDeviceMapping" => Node::set(
            "blockDeviceMapping",
            image.devices.iter().map(images::device),
        ),
        "description" => value("description", &image.description),
        "bootMode" => value("bootMode", &text(&image.boot_mode)),
        "imdsSupport" => value("imdsSupport", &text(&image.imds)),
        "tpmSupport" => value("tpmSupport", &text(&image.tpm)),
        "deregistrationProtection" => value("deregistrationProtection", image.protection),
        other => {
            let message = format!("Value ({other}) for parameter attribute is invalid.");
            return Err(Refusal::new("InvalidParameterValue", message));
        }
    };
    let children = vec![Node::text("imageId", &image.id), attribute];
    Ok(Answer::xml(&call.action, children))
}

/// The calls that turn one thing of an image on or off.
pub fn switch(inner: &Inner, call: &Call) -> Outcome {
    let mut world = inner.world.lock().unwrap();
    let image = world.own_image(call.form.text("ImageId"), &call.account, &call.region)?;
    match call.action.as_str() {
        "ResetImageAttribute" => image.shared.clear(),
        "EnableImageDeprecation" => deprecate(image, call.form.text("DeprecateAt"))?,
        "DisableImageDeprecation" => image.deprecated = None,
        "EnableImageDeregistrationProtection" => {
            image.protection = if call.form.is_true("WithCooldown") {
                "enabled-with-cooldown"
            } else {
                "enabled-without-cooldown"
            };
        }
        // One with a cooldown stays protected for a day.
        "DisableImageDeregistrationProtection" => image.protection = "disabled",
        "DisableImage" => {
            image.disabled = true;
            image.shared.clear();
        }
        _ => image.disabled = false,
    }
    Ok(Answer::done(&call.action))
}

/// EC2 rounds to the minute, and takes no time that is past.
fn deprecate(image: &mut Image, at: &str) -> Result<(), Refusal> {
    let whole = at
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end_matches('Z')
        .to_owned()
        + "Z";
    let time: Option<Timestamp> = whole.parse().ok();
    match time.filter(|time| time.seconds() > Timestamp::now().seconds()) {
        None => {
            let message = format!("Value ({at}) for parameter DeprecateAt is invalid.");
            Err(Refusal::new("InvalidParameterValue", message))
        }
        Some(time) => {
            let seconds = u64::try_from(time.seconds()).unwrap_or_default();
            let minute = Timestamp::from_seconds(seconds.div_ceil(60) * 60);
            image.deprecated = Some(minute.to_string().replace('Z', ".000Z"));
            Ok(())
        }
    }
}
