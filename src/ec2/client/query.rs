//! Query protocol of EC2, STS and Auto Scaling: form in, XML out.

use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::endpoint::Service;
use super::request::Request;
use super::retry::Retry;
use super::{AwsError, Region};
use crate::secret::UNRESERVED;

/// Call with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Query {
    service: Service,
    action: &'static str,
    retry: Retry,
    form: String,
}

impl Query {
    /// Call that AWS may receive repeatedly: it changes nothing, or creates something that can exist only once.
    pub(super) fn new(service: Service, action: &'static str, version: &str) -> Self {
        Self {
            service,
            action,
            retry: Retry::Transient,
            form: format!("Action={action}&Version={version}"),
        }
    }

    /// Marks the call as one that creates something new each time it is carried out.
    pub(super) fn once(self) -> Self {
        Self {
            retry: Retry::NotCarriedOut,
            ..self
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and literals are handed over as they are"
    )]
    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, &value);
        self
    }

    /// Adds a parameter that has a value.
    pub(super) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds the parameters `NAME.1`, `NAME.2`, ...
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

    pub(super) fn set(&mut self, name: &str, value: &(impl ToString + ?Sized)) {
        let value = value.to_string();
        self.form += "&";
        self.form
            .extend(utf8_percent_encode(name, UNRESERVED).chain(["="]));
        self.form.extend(utf8_percent_encode(&value, UNRESERVED));
    }
}

/// List in a response.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Items<T> {
    #[serde(default = "Vec::new", alias = "member")]
    pub(super) item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// Page of a list, which each call names differently.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    #[serde(
        default = "Items::default",
        alias = "imagesSet",
        alias = "launchTemplates",
        alias = "launchTemplateVersionSet",
        alias = "reservationSet",
        alias = "securityGroupInfo",
        alias = "snapshotSet",
        alias = "subnetSet",
        alias = "volumeSet",
        alias = "vpcSet",
        alias = "AutoScalingGroups",
        alias = "LaunchConfigurations"
    )]
    items: Items<T>,
    #[serde(alias = "NextToken")]
    next_token: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn into_parts(self) -> (Vec<T>, Option<String>) {
        (self.items.item, self.next_token)
    }
}

impl Region {
    /// Sends a call and parses its response.
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
            retry: query.retry,
        };
        let answer = self.send(&request).await?;
        quick_xml::de::from_reader(&*answer.body)
            .map_err(|error| self.not_understood(&request, &error))
    }

    /// Sends a call for each page of its response. `take` returns the items of a page and the token of the next page.
    pub(super) async fn pages<P: DeserializeOwned, T>(
        &self,
        query: Query,
        take: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>, AwsError> {
        let (query, take) = (&query, &take);
        all_pages(|token| async move {
            let page = query.clone().with_some("NextToken", token);
            Ok(take(self.query(page).await?))
        })
        .await
    }
}

/// Collects the items of all pages. `page` gets the token of a page, and returns its items and the token of the next page.
pub(super) async fn all_pages<T, F>(
    mut page: impl FnMut(Option<String>) -> F,
) -> Result<Vec<T>, AwsError>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), AwsError>>,
{
    let mut all = Vec::new();
    let mut token = None;
    loop {
        let (items, next) = page(token).await?;
        all.extend(items);
        token = next.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(all);
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
