//! STS: the caller's identity.

use serde::Deserialize;

use super::endpoint::Service;
use super::query::Query;
use super::{AwsError, Region};

/// Identity of the caller.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Caller {
    /// Account id of twelve digits.
    pub account: String,
    /// ARN of the user or role.
    pub arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    get_caller_identity_result: Caller,
}

impl Region {
    /// Returns the identity of the caller.
    pub async fn caller(&self) -> Result<Caller, AwsError> {
        let query = Query::new(Service::Sts, "GetCallerIdentity", "2011-06-15");
        let answer: Answer = self.query(query).await?;
        Ok(answer.get_caller_identity_result)
    }
}
