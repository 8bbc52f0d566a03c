//! SSM parameters: moto keeps them; one that holds an image has to hold one.

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::Inner;
use super::answer::{Outcome, Refusal};
use super::call::Call;
use super::form::Form;

pub async fn perform(inner: &Inner, call: &Call) -> Outcome {
    if call.action == "PutParameter" {
        let asked: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        if asked["DataType"] == "aws:ec2:image" {
            let id = asked["Value"].as_str().unwrap_or_default();
            let world = inner.world.lock().unwrap();
            let image = world.image(id, &call.account, &call.region).ok();
            if image.is_none_or(|image| image.state() != "available") {
                let message = format!("Value {id} is not an available AMI of {}", call.region);
                return Err(Refusal::new("ValidationException", message));
            }
        }
    }
    Ok(inner.ask(call).await)
}

async fn ask(inner: &Inner, account: &str, region: &str, action: &str, body: Value) -> Value {
    let mut headers = HeaderMap::new();
    let target = format!("AmazonSSM.{action}").parse().expect("it is plain");
    headers.insert("x-amz-target", target);
    let kind = "application/x-amz-json-1.1".parse().expect("it is plain");
    headers.insert("content-type", kind);
    let call = Call {
        service: "ssm".to_owned(),
        headers,
        body: body.to_string().into(),
        form: Form::default(),
        ..Call::ec2(account, region, action, &[])
    };
    let answer = inner.ask(&call).await;
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// A parameter's value.
pub async fn value(inner: &Inner, call: &Call, name: &str) -> Option<String> {
    let body = json!({ "Name": name });
    let answer = ask(inner, &call.account, &call.region, "GetParameter", body).await;
    answer["Parameter"]["Value"].as_str().map(str::to_owned)
}

/// Names of all parameters.
pub async fn names(inner: &Inner, account: &str, region: &str) -> Vec<String> {
    let answer = ask(inner, account, region, "DescribeParameters", json!({})).await;
    let all = answer["Parameters"].as_array().cloned().unwrap_or_default();
    let names = all
        .iter()
        .filter_map(|parameter| parameter["Name"].as_str());
    names.map(str::to_owned).collect()
}
