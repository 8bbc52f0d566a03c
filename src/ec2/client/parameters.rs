//! SSM parameters, which name an AMI to those who launch it.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::endpoint::Service;
use super::request::Request;
use super::retry::Retry;
use super::{AwsError, Poll, Region};

/// Longest wait for AWS to check the AMI of a parameter, which takes seconds.
const ACCEPT_TIMEOUT: Duration = Duration::from_mins(1);

/// Data type of a parameter whose value AWS checks: an AMI that the account can use.
const IMAGE: &str = "aws:ec2:image";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    parameter: Parameter,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
}

#[derive(Debug, Deserialize)]
struct Done {}

/// Returns the value of a parameter; `None` if it does not exist.
pub async fn get(region: &Region, name: &str) -> Result<Option<String>, AwsError> {
    let body = json!({ "Name": name });
    match call::<Found>(region, "GetParameter", &body).await {
        Ok(found) => Ok(Some(found.parameter.value)),
        Err(error) if error.error_code() == Some("ParameterNotFound") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets a parameter to an AMI. AWS checks the AMI after this returns: use [`wait_value`] to see whether it is accepted.
pub async fn put_image(region: &Region, name: &str, image: &str) -> Result<(), AwsError> {
    // A repeated call changes only the number of the version.
    let body = json!({
        "Name": name,
        "Value": image,
        "Type": "String",
        "DataType": IMAGE,
        "Overwrite": true,
    });
    call::<Done>(region, "PutParameter", &body).await.map(drop)
}

/// Waits until a parameter has this value, which shows that AWS accepted the AMI.
pub async fn wait_value(region: &Region, name: &str, value: &str) -> Result<(), AwsError> {
    region
        .wait_for(format!("parameter {name}"), ACCEPT_TIMEOUT, async || {
            Ok(match get(region, name).await? {
                Some(now) if now == value => Poll::Ready(()),
                Some(now) => Poll::Pending(now),
                None => Poll::Pending("not there".to_owned()),
            })
        })
        .await
}

/// Deletes a parameter. One that does not exist counts as deleted.
pub async fn delete(region: &Region, name: &str) -> Result<(), AwsError> {
    let body = json!({ "Name": name });
    match call::<Done>(region, "DeleteParameter", &body).await {
        Err(error) if error.error_code() != Some("ParameterNotFound") => Err(error),
        _ => Ok(()),
    }
}

async fn call<T: DeserializeOwned>(
    region: &Region,
    action: &'static str,
    body: &serde_json::Value,
) -> Result<T, AwsError> {
    let request = Request {
        service: Service::Ssm,
        action,
        method: Method::POST,
        path: "/".to_owned(),
        headers: vec![
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", format!("AmazonSSM.{action}")),
        ],
        body: body.to_string().into(),
        sign_body: true,
        retry: Retry::Transient,
    };
    region.send_json(&request).await
}
