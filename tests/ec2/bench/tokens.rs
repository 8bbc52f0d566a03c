//! Client tokens: the same call again has the same answer and no further effect.

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::form::Form;

/// What a call with a token was answered before.
pub fn before(inner: &Inner, call: &Call) -> Option<Outcome> {
    let key = key(call)?;
    let world = inner.world.lock().unwrap();
    let (asked, answer) = world.tokens.get(&key)?;
    if *asked == parameters(call) {
        return Some(Ok(answer.clone()));
    }
    let message = format!(
        "The client token '{}' was used with other parameters",
        key.3
    );
    Some(Err(if call.service == "ebs" {
        Refusal::status(409, "ConflictException", message)
    } else {
        Refusal::new("IdempotentParameterMismatch", message)
    }))
}

/// Remembers an answer.
pub fn keep(inner: &Inner, call: &Call, answer: &Answer) {
    if let Some(key) = key(call)
        && answer.status < 300
    {
        let entry = (parameters(call), answer.clone());
        inner.world.lock().unwrap().tokens.insert(key, entry);
    }
}

fn key(call: &Call) -> Option<(String, String, String, String)> {
    let token = if call.action == "StartSnapshot" {
        let asked: serde_json::Value = serde_json::from_slice(&call.body).ok()?;
        asked["ClientToken"].as_str()?.to_owned()
    } else {
        call.form.get("ClientToken")?.to_owned()
    };
    let place = (call.account.clone(), call.region.clone());
    Some((place.0, place.1, call.action.clone(), token))
}

fn parameters(call: &Call) -> Form {
    let mut form = call.form.clone();
    if call.service == "ebs" {
        form.set("body", String::from_utf8_lossy(&call.body));
    }
    form
}
