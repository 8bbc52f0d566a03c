//! Roles: whoever asks for a role of one of the bench's accounts gets a key of that account.

use karat::time::Timestamp;

use super::Inner;
use super::account::Key;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::xml::Node;

pub async fn perform(inner: &Inner, call: &Call) -> Outcome {
    if call.action != "AssumeRole" {
        return Ok(inner.ask(call).await);
    }
    let role = call.form.text("RoleArn");
    let session = call.form.text("RoleSessionName");
    // arn:aws:iam::123456789012:role/name
    let parts: Vec<&str> = role.split(':').collect();
    let account = parts.get(4).copied().unwrap_or_default();
    let mut accounts = inner.accounts.lock().unwrap();
    let Some(record) = accounts.get_mut(account) else {
        let message = format!("not authorized to perform: sts:AssumeRole on resource: {role}");
        return Err(Refusal::status(403, "AccessDenied", message));
    };
    let key = Key::new(Some("a session of the bench".to_owned()));
    record.keys.push(key.clone());
    let expires = Timestamp::from_seconds(
        u64::try_from(Timestamp::now().seconds()).unwrap_or_default() + 3600,
    );
    let credentials = vec![
        Node::text("AccessKeyId", key.access),
        Node::text("SecretAccessKey", key.secret),
        Node::text("SessionToken", key.session.unwrap_or_default()),
        Node::text("Expiration", expires),
    ];
    let user = vec![
        Node::text("AssumedRoleId", format!("AROA0123456789EXAMPLE:{session}")),
        Node::text(
            "Arn",
            role.replace(":iam:", ":sts:")
                .replace(":role/", ":assumed-role/")
                + "/"
                + session,
        ),
    ];
    let result = vec![
        Node::new("Credentials", credentials),
        Node::new("AssumedRoleUser", user),
    ];
    let root = Node::new(
        "AssumeRoleResponse",
        vec![Node::new("AssumeRoleResult", result)],
    );
    let root = root.with_attributes(" xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"");
    Ok(Answer::document(200, &root))
}
