//! Versions of launch templates that are removed, which moto does not do.

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::xml::Node;

/// moto's answer without the versions that were removed.
pub async fn describe(inner: &Inner, call: &Call) -> Outcome {
    let answer = inner.ask(call).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let Some(mut root) = Node::parse(&text).filter(|_| answer.status == 200) else {
        return Ok(answer);
    };
    if let Some(set) = root.child_mut("launchTemplateVersionSet") {
        let world = inner.world.lock().unwrap();
        set.children_mut().retain(|it| {
            let version = (it.value("launchTemplateId"), it.value("versionNumber"));
            !world
                .removed_versions
                .contains(&(version.0.to_owned(), version.1.to_owned()))
        });
    }
    Ok(Answer::document(200, &root))
}

/// Removes versions, but never the default one.
pub async fn delete_versions(inner: &Inner, call: &Call) -> Outcome {
    let template = call.form.text("LaunchTemplateId").to_owned();
    let mut ask = call.clone();
    "DescribeLaunchTemplateVersions".clone_into(&mut ask.action);
    ask.form.set("Action", "DescribeLaunchTemplateVersions");
    let answer = describe(inner, &ask).await?;
    let root = Node::parse(&String::from_utf8_lossy(&answer.body));
    let found = root.map(|root| root.items("launchTemplateVersionSet").to_vec());
    let found = found.unwrap_or_default();
    for number in call.form.list("LaunchTemplateVersion") {
        let version = found.iter().find(|it| it.value("versionNumber") == number);
        let Some(version) = version else {
            let message = "Could not find the specified version";
            return Err(Refusal::new(
                "InvalidLaunchTemplateId.VersionNotFound",
                message,
            ));
        };
        if version.value("defaultVersion") == "true" {
            let message = "The default version cannot be deleted";
            return Err(Refusal::new("InvalidParameterValue", message));
        }
        let mut world = inner.world.lock().unwrap();
        world.removed_versions.insert((template.clone(), number));
    }
    Ok(Answer::xml(&call.action, Vec::new()))
}
