//! The Query protocol of EC2, STS and Auto Scaling: a form goes, XML comes back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::endpoint::Service;
use super::request::Request;
use super::retry::Again;
use super::{AwsError, Region};

/// What is not encoded: RFC 3986, 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A call with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Query {
    service: Service,
    action: &'static str,
    again: Again,
    form: String,
}

impl Query {
    /// A call that changes nothing, or that makes something of which there can be one only.
    pub(super) fn new(service: Service, action: &'static str, version: &str) -> Self {
        Self {
            service,
            action,
            again: Again::Passing,
            form: format!("Action={action}&Version={version}"),
        }
    }

    /// The same, for a call that makes something new whenever it is carried out.
    pub(super) fn once(self) -> Self {
        Self {
            again: Again::Refused,
            ..self
        }
    }

    /// Adds a parameter.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and literals are handed over as they are"
    )]
    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, &value);
        self
    }

    /// Adds a parameter if there is one.
    pub(super) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a list: `NAME.1`, `NAME.2`, ...
    pub(super) fn with_all<T: ToString>(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        for (at, value) in values.into_iter().enumerate() {
            self.set(&format!("{name}.{}", at + 1), &value);
        }
        self
    }

    /// Adds a parameter.
    pub(super) fn set(&mut self, name: &str, value: &(impl ToString + ?Sized)) {
        let value = value.to_string();
        self.form += "&";
        self.form
            .extend(utf8_percent_encode(name, UNRESERVED).chain(["="]));
        self.form.extend(utf8_percent_encode(&value, UNRESERVED));
    }
}

impl Region {
    /// Sends a call, and reads what comes back.
    pub(super) async fn query<T: DeserializeOwned>(&self, query: Query) -> Result<T, AwsError> {
        let request = Request {
            service: query.service,
            action: query.action,
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            )],
            body: query.form.into(),
            sign_body: true,
            again: query.again,
        };
        let answer = self.send(&request).await?;
        quick_xml::de::from_reader(&*answer.body)
            .map_err(|error| self.not_understood(&request, &error))
    }
}

impl Region {
    /// Sends a call that is answered page by page. `take` tells what is in a page, and what the next one is asked for with.
    pub(super) async fn pages<P: DeserializeOwned, T>(
        &self,
        query: Query,
        take: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, AwsError> {
        let mut all = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let page = query.clone().with_some("NextToken", from.as_ref());
            let (found, next) = take(self.query(page).await?);
            all.extend(found);
            match next.filter(|token| !token.is_empty()) {
                Some(token) => from = Some(token),
                None => return Ok(all),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let query = Query::new(Service::Ec2, "DescribeImages", "2016-11-15")
            .with("Name", "a b&c=ü/~")
            .with_some("Left", None::<&str>)
            .with_all("Owner", ["self", "1"]);
        assert_eq!(
            query.form,
            "Action=DescribeImages&Version=2016-11-15&Name=a%20b%26c%3D%C3%BC%2F~&Owner.1=self&Owner.2=1"
        );
    }
}
