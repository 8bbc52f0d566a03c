//! STS: who the caller is.

use serde::Deserialize;

use super::endpoint::Service;
use super::query::Query;
use super::{AwsError, Region};

/// Who calls.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Caller {
    /// Its account, by its twelve digits.
    pub account: String,
    /// The user or role.
    pub arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    get_caller_identity_result: Caller,
}

impl Region {
    /// Who calls.
    ///
    /// # Errors
    /// The credentials are not valid, or the call failed.
    pub async fn caller(&self) -> Result<Caller, AwsError> {
        let query = Query::new(Service::Sts, "GetCallerIdentity", "2011-06-15");
        let answer: Answer = self.query(query).await?;
        Ok(answer.get_caller_identity_result)
    }
}
