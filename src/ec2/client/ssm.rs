//! SSM parameters: names under which others find an AMI.

use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::endpoint::Service;
use super::request::Request;
use super::retry::Again;
use super::{AwsError, Poll, Region};

/// AWS looks at an AMI within seconds.
const TAKEN: Duration = Duration::from_mins(1);

/// The type of a parameter whose value is checked to be an AMI that the account can use.
pub const IMAGE: &str = "aws:ec2:image";

/// A parameter.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parameter {
    /// What it says.
    pub value: String,
    /// From 1; every change makes the next one.
    #[serde(default)]
    pub version: u64,
    /// `text`, or [`IMAGE`].
    #[serde(default)]
    pub data_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    parameter: Parameter,
}

#[derive(Debug, Deserialize)]
struct Nothing {}

impl Region {
    /// What a parameter says; `None` when there is none.
    ///
    /// # Errors
    /// The principal may not ask.
    pub async fn parameter(&self, name: &str) -> Result<Option<Parameter>, AwsError> {
        let body = json!({ "Name": name });
        match self
            .json::<Found>("GetParameter", Again::Passing, &body)
            .await
        {
            Ok(found) => Ok(Some(found.parameter)),
            Err(error) if error.error_code() == Some("ParameterNotFound") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets a parameter name an AMI. AWS looks at the AMI afterwards: what it takes shows only when it is read again.
    ///
    /// # Errors
    /// The principal may not.
    pub async fn put_image_parameter(&self, name: &str, image: &str) -> Result<(), AwsError> {
        // To say the same twice changes nothing but the version's number.
        let body = json!({
            "Name": name,
            "Value": image,
            "Type": "String",
            "DataType": IMAGE,
            "Overwrite": true,
        });
        let done = self.json::<Nothing>("PutParameter", Again::Passing, &body);
        done.await.map(drop)
    }

    /// Waits until a parameter says this: AWS looks at an AMI before it takes it.
    ///
    /// # Errors
    /// It does not say so within a minute: AWS did not take the AMI.
    pub(crate) async fn parameter_says(&self, name: &str, value: &str) -> Result<(), AwsError> {
        let what = format!("parameter {name}");
        self.wait_for(&what, TAKEN, async || {
            let now = self.parameter(name).await?.map(|it| it.value);
            Ok(match now {
                Some(now) if now == value => Poll::Ready(()),
                Some(now) => Poll::Pending(now),
                None => Poll::Pending("not there".to_owned()),
            })
        })
        .await
    }

    /// Removes a parameter.
    ///
    /// # Errors
    /// The principal may not.
    pub async fn delete_parameter(&self, name: &str) -> Result<(), AwsError> {
        let body = json!({ "Name": name });
        let done = self.json::<Nothing>("DeleteParameter", Again::Passing, &body);
        match done.await {
            Err(error) if error.error_code() != Some("ParameterNotFound") => Err(error),
            _ => Ok(()),
        }
    }

    async fn json<T: DeserializeOwned>(
        &self,
        action: &'static str,
        again: Again,
        body: &impl Serialize,
    ) -> Result<T, AwsError> {
        let body = serde_json::to_vec(body).expect("a value made by `json!` has text keys");
        let request = Request {
            service: Service::Ssm,
            action,
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".to_owned()),
                ("x-amz-target", format!("AmazonSSM.{action}")),
            ],
            body: body.into(),
            sign_body: true,
            again,
        };
        let answer = self.send(&request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.not_understood(&request, &error))
    }
}
